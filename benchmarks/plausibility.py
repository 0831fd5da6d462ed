"""Are the samples of a model plausible beyond valence? PoseBusters, strain by GFN2-xTB, lengths, angles and sizes.

    python -m benchmarks.plausibility --samples 1000 --strained 100

The same figures of real test molecules, as many, stand beside them; distances of real molecules are between two
halves of the test split. Needs the extras `train`, `quality` and `xtb`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from chemistry.bonds.distance import distance_bonds
from chemistry.bootstrap import ratio_interval
from chemistry.datasets import load_dataset
from chemistry.geometry import distances, geometry
from chemistry.mol import to_mol
from chemistry.plausibility import plausibility
from chemistry.reasons import Failure
from chemistry.sanitize import sanitize
from chemistry.strain import strains
from chemistry.structure import Structure
from models.edm.model import EDM
from models.training.evaluations.edm import card_sampler, draw_samples
from models.weights import load_model

WEIGHTS = Path(__file__).parents[1] / "models" / "weights"


def busted(structures: list[Structure]) -> dict[str, Any]:
    """Share that passes each check, of all molecules; those that RDKit refuses fail every one."""
    mols = []
    for structure in structures:
        mol = to_mol(structure, distance_bonds(structure.numbers, structure.positions).bonds)
        if sanitize(mol) is None:
            mols.append(mol)
    found = plausibility(mols)
    names = found[0].checks if found else {}
    total = np.ones(len(structures))

    def share(passed: list[bool]) -> dict[str, float]:
        marks = np.array([*passed, *[False] * (len(structures) - len(passed))], dtype=float)
        interval = ratio_interval(marks, total, resamples=1000, level=0.95, seed=0)
        return {name: round(getattr(interval, name), 4) for name in ("value", "low", "high")}

    return {"n": len(structures), "judged": len(mols), "all": share([f.passed for f in found])} | {
        name: share([f.checks[name] for f in found]) for name in names
    }


def strained(structures: list[Structure]) -> dict[str, Any]:
    """Quartiles of the strain in kcal/mol of valid molecules."""
    found = strains(structures, model="xtb")
    energies = [one.energy for one in found if not isinstance(one, Failure)]
    low, median, high = np.percentile(energies, [25, 50, 75]).round(2).tolist()
    return {
        "n": len(structures), "failed": len(found) - len(energies), "median": median, "quartiles": [low, high],
        "broke_bonds": sum(not one.same_bonds for one in found if not isinstance(one, Failure)),
    }  # fmt: skip


def valid(structures: list[Structure], count: int) -> list[Structure]:
    """The first `count` that RDKit accepts as one connected molecule."""
    good = []
    for structure in structures:
        bonds = distance_bonds(structure.numbers, structure.positions)
        if bool(bonds.stable.all()) and sanitize(to_mol(structure, bonds.bonds)) is None:
            good.append(structure)
    return good[:count]


def main(
    samples: Annotated[int, typer.Option(help="Molecules to draw, and real ones to compare with.")] = 1000,
    strained_molecules: Annotated[
        int, typer.Option("--strained", help="Valid ones relaxed by GFN2-xTB.")
    ] = 100,
    model: Annotated[str, typer.Option(help="A shipped EDM.")] = "edm-qm9",
    out: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
) -> None:
    card = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
    edm = cast(EDM, load_model(card, WEIGHTS / f"{model}.safetensors"))
    options = card_sampler(card)
    drawn = [
        Structure(s.numbers, s.positions) for s in draw_samples(edm, samples, **options) if not s.diverged
    ]
    test = load_dataset("qm9", "test")
    rows = np.linspace(0, len(test) - 1, samples).astype(int).tolist()
    real = [Structure(test[row].numbers, test[row].positions) for row in rows]
    halves = [geometry(test[i] for i in range(start, len(test), 2)) for start in (0, 1)]
    report = {
        "sampler": options, "posebusters": busted(drawn), "posebusters_real": busted(real),
        "geometry": {
            name: {
                "distance": round(found.value, 4), "unit": found.unit, "n": found.n,
                "real": round(both.value, 4) if (both := floor.get(name)) else None,
            }
            for floor in [distances(halves[1], halves[0])]
            for name, found in list(distances(geometry(drawn), halves[0]).items())[:20]
        },
    }  # fmt: skip
    if strained_molecules:
        report["strain"] = strained(valid(drawn, strained_molecules))
        report["strain_real"] = strained(valid(real, strained_molecules))
    text = json.dumps(report, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
