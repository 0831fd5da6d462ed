"""How often do two molecules of a set turn out to be the same one, and how many heavy atoms do they have?

    python -m benchmarks.repeats --samples 3000

Beside the samples stand real training molecules drawn with replacement, as many as an ideal model of the same data
would repeat. The share of equal pairs does not depend on the size of the set, as the share of repeats does.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer
from numpy.typing import NDArray
from rdkit import rdBase

from chemistry.datasets import load_dataset
from chemistry.metrics import published_smiles
from chemistry.structure import Structure
from models.edm.model import EDM
from models.training.evaluations.edm import card_sampler, draw_samples
from models.weights import load_model
from models.weights.files import find_card

HYDROGEN = 1


def repeats(structures: Sequence[Any], *, at: int = 10_000) -> dict[str, Any]:
    """Equal pairs per million with a 95 % interval (their number is about Poisson), and the share of repeats that
    they would make among `at` valid molecules, to first order.
    """
    smiles = [found for one in structures if (found := published_smiles(one)) is not None]
    pairs = sum(k * (k - 1) // 2 for k in Counter(smiles).values())
    each = 1e6 / math.comb(len(smiles), 2)
    half = 1.96 * math.sqrt(max(pairs, 1))
    return {
        "n": len(structures), "valid": round(len(smiles) / len(structures), 4),
        "unique": round(len(set(smiles)) / len(smiles), 4), "equal_pairs": pairs,
        "equal_pairs_per_million": [
            round(each * value, 2) for value in (pairs, max(pairs - half, 0), pairs + half)
        ],
        f"repeats_at_{at}": round((at - 1) / 2 * each * pairs / 1e6, 4),
    }  # fmt: skip


def heavy(structures: Sequence[Any]) -> dict[str, float]:
    """Shares of molecules by their atoms that are no hydrogen."""
    counts: NDArray[np.int64] = np.array([int((one.numbers != HYDROGEN).sum()) for one in structures])
    marks = {"at most 7": counts <= 7, "8": counts == 8, "9": counts == 9, "at least 10": counts >= 10}
    return {name: round(float(mark.mean()), 4) for name, mark in marks.items()}


def main(
    samples: Annotated[int, typer.Option(help="Molecules to draw.", min=2)] = 3000,
    real: Annotated[int, typer.Option(help="Training molecules drawn with replacement.", min=2)] = 10_000,
    model: Annotated[str, typer.Option(help="A shipped EDM, or the path of its card.")] = "edm-qm9",
    guidance: Annotated[float | None, typer.Option(help="In place of the card's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
) -> None:
    path = find_card(model)
    card = json.loads(path.read_text(encoding="utf-8"))
    edm = cast(EDM, load_model(card, path.parent / Path(card["weights"]["file"])))
    train = load_dataset(card["training"]["data"], "train")
    rows = np.random.default_rng(seed).integers(0, len(train), real).tolist()
    known = [Structure(train[row].numbers, train[row].positions) for row in rows]
    options = card_sampler(card) | ({} if guidance is None else {"guidance": guidance})
    drawn = [s for s in draw_samples(edm, samples, seed=seed, **options) if not s.diverged]
    with rdBase.BlockLogs():
        report = {
            "sampler": options,
            "samples": repeats(drawn) | {"heavy_atoms": heavy(drawn)},
            "real_with_replacement": repeats(known) | {"heavy_atoms": heavy(known)},
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    typer.run(main)
