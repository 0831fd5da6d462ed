"""Quality against network calls, for every sampler of an EDM: the curve in the card and the plot in the docs.

    python -m benchmarks.sampler_curve --samples 128 --plot docs/figures/sampler_curve.png --write

Sizes and seeds are the same in every row. Churn belongs to the stochastic sampler, guidance to all of them; both are
the card's own. The settings whose curve bends (the knee) are the model's defaults.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.sampling import WEIGHTS, assert_is_edm
from models.core.precision import fast_cpu_arithmetic
from models.edm.model import EDM
from models.edm.samplers import SAMPLERS
from models.training.evaluations.edm import card_sampler, draw_samples
from models.training.evaluations.molecules import judge
from models.weights import load_model
from models.weights.files import write_card

STEPS = (5, 10, 12, 25, 50, 100, 250)
SHOWN = ("atom_stable", "molecule_stable", "valid", "connected")


def measure(
    model: EDM, settings: dict[str, Any], sampler: str, steps: int, samples: int, seed: int
) -> dict[str, Any]:
    """One point of a curve: shares with their intervals, and molecules per second of this process."""
    churn = settings.get("churn", 0.0) if sampler == "stochastic" else 0.0
    chosen = settings | {"sampler": sampler, "steps": steps, "churn": churn}
    begun = time.process_time()
    found = judge(draw_samples(model, samples, seed=seed, **chosen), None).values
    rate = samples / (time.process_time() - begun)
    shares = {
        name: [round(part, 4) for part in (found[name].value, found[name].low, found[name].high)]
        for name in SHOWN
    }
    return {"sampler": sampler, "steps": steps, "n": samples, "per_second": round(rate, 2), **shares}


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Molecule stability and validity against network calls, one line a sampler, intervals as bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
    for axis, name in zip(axes, ("molecule_stable", "valid"), strict=True):
        for sampler in SAMPLERS:
            rows = [point for point in points if point["sampler"] == sampler]
            values = [100 * row[name][0] for row in rows]
            below = [100 * (row[name][0] - row[name][1]) for row in rows]
            above = [100 * (row[name][2] - row[name][0]) for row in rows]
            axis.errorbar(
                [row["steps"] for row in rows], values, yerr=[below, above], marker="o", ms=4, capsize=2,
                label=sampler,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xticks(STEPS, ["" if steps == 12 else str(steps) for steps in STEPS])  # 10 stands beside it
        axis.minorticks_off()
        axis.set_xlabel("network calls")
        axis.set_title(f"{name.replace('_', ' ')}, %", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(
    model: Annotated[str, typer.Option(help="Name of the shipped model.")] = "edm-qm9",
    samples: Annotated[int, typer.Option(help="Molecules of each point.", min=2)] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the sizes and of the noise.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG.")] = None,
    write: Annotated[bool, typer.Option(help="Keep the curve in the card.")] = False,
) -> None:
    """Measure every sampler at every number of steps, print a table, draw and keep it if asked."""
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    card = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
    loaded = load_model(card, WEIGHTS / card["weights"]["file"])
    assert_is_edm(loaded)
    console = Console()
    points = []
    for steps in STEPS:
        for sampler in SAMPLERS:
            point = measure(loaded, card_sampler(card), sampler, steps, samples, seed)
            points.append(point)
            console.print(f"{sampler} {steps}: {point}")
    table = Table(title=f"{samples} samples a row, 95 % intervals")
    for heading in ("sampler", "calls", "molecules / s", *SHOWN):
        table.add_column(heading.replace("_", " "), justify="left" if heading == "sampler" else "right")
    for p in points:
        shares = (f"{100 * p[k][0]:.1f} % ({100 * p[k][1]:.0f} to {100 * p[k][2]:.0f})" for k in SHOWN)
        table.add_row(p["sampler"], str(p["steps"]), str(p["per_second"]), *shares)
    console.print(table)
    if plot is not None:
        draw(points, plot)
    if write:
        latest = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
        write_card({**latest, "curve": points}, WEIGHTS)


if __name__ == "__main__":
    typer.run(main)
