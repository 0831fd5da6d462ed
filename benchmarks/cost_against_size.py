"""What a molecule costs to sample: against its number of atoms, and against the molecules that share a shard.

    python -m benchmarks.cost_against_size --plot docs/figures/cost_against_size.png

Times are per molecule and step of the shipped model's own sampler, its guide included, times 50 evaluations. Atoms
beyond the training data's 29 cost what they cost; nobody says that such molecules are good.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.sampling import WEIGHTS, assert_is_edm, best
from models.core.precision import fast_cpu_arithmetic
from models.edm.model import EDM
from models.training.evaluations.edm import card_sampler
from models.weights import load_model

ATOMS = (9, 14, 18, 24, 29, 40, 50, 60)
SHARDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EVALUATIONS = 50


def seconds(model: EDM, sampler: dict[str, Any], atoms: int, molecules: int, repeats: int) -> float:
    """Seconds per molecule for a run of 50 network calls, from the fastest of a few calls."""
    run = model.sampling([atoms] * molecules, range(molecules), **sampler | {"steps": EVALUATIONS})
    return best(run.step, repeats) / molecules * EVALUATIONS


def main(
    model: Annotated[str, typer.Option(help="Name of the shipped model.")] = "edm-qm9",
    repeats: Annotated[int, typer.Option(help="Timed calls; the fastest counts.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them into this PNG.")] = None,
) -> None:
    """Measure both series, print them, and draw them if asked."""
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    card = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
    loaded = load_model(card, WEIGHTS / card["weights"]["file"])
    assert_is_edm(loaded)
    sampler = card_sampler(card)
    by_atoms = {n: seconds(loaded, sampler, n, 32, repeats) for n in ATOMS}
    by_shard = {b: seconds(loaded, sampler, 18, b, repeats) for b in SHARDS}
    table = Table(title=f"Seconds per molecule, {EVALUATIONS} evaluations, one core")
    for name in ("atoms", "32 a shard", "molecules a shard", "18 atoms"):
        table.add_column(name, justify="right")
    left = [(str(n), f"{t:.4f}") for n, t in by_atoms.items()] + [("", "")]
    for (atoms, first), (shard, second) in zip(left, by_shard.items(), strict=True):
        table.add_row(atoms, first, str(shard), f"{second:.4f}")
    Console().print(table)
    report = {"evaluations": EVALUATIONS, "by_atoms": by_atoms, "by_shard": by_shard}
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if plot is not None:
        draw(by_atoms, by_shard, plot)


def draw(by_atoms: dict[int, float], by_shard: dict[int, float], path: Path) -> None:
    """Both series side by side on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(7.5, 3), sharey=True)
    reference = by_atoms[18]
    axes[0].plot(
        list(by_atoms), [reference * (n / 18) ** 2 for n in by_atoms], ":", color="0.6", label="atoms²"
    )
    axes[0].plot(list(by_atoms), list(by_atoms.values()), "o-", label="32 molecules a shard")
    axes[1].plot(list(by_shard), list(by_shard.values()), "o-", color="C1", label="18 atoms")
    for axis, name in zip(axes, ("atoms", "molecules a shard"), strict=True):
        axis.set(xlabel=name, xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[0].set_xticks(ATOMS[::2], [str(n) for n in ATOMS[::2]], minor=False)
    axes[0].minorticks_off()
    axes[1].set_xticks(SHARDS[::2], [str(b) for b in SHARDS[::2]])
    axes[0].set_ylabel(f"seconds per molecule\n({EVALUATIONS} evaluations, one core)")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
