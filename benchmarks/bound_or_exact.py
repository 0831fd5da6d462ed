"""What a likelihood costs and how far it scatters: the EDM's two ways of scoring beside the E-NF's.

    python -m benchmarks.bound_or_exact --model enf-qm9 --molecules 16 --write

The same held-out molecules in every row, each scored `--repeats` times with other seeds. The scatter is the standard
deviation between two scorings of one molecule, root mean square over the molecules: what a single figure may be off
by chance. Times are processor time of one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from benchmarks.pages import kept, markdown, put
from benchmarks.steps_quality import shipped
from chemistry.datasets import load_dataset
from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.core.precision import fast_cpu_arithmetic
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.enf.model import ENF
from workers.schemas.edm import FLOW_STEPS

Scorer = Callable[[list[Any], list[Any], list[int]], list[Likelihood]]


def edm_scorers(model: EDM) -> dict[str, Scorer]:
    """The EDM's two ways, with the service's draws."""
    return {
        "bound, 32 draws": lambda z, x, seeds: model.bound(z, x, seeds, draws=32),
        "probability-flow, 4 draws": lambda z, x, seeds: model.probability_flow_log_prob(
            z, x, seeds, draws=4, steps=FLOW_STEPS
        ),
    }


def enf_scorers(model: ENF) -> dict[str, Scorer]:
    """The flow's two ways, one draw each; the scatter falls with the square root of the draws."""
    solver = Solver(tolerance=1e-4)
    return {
        "exact, 1 draw": lambda z, x, seeds: model.log_prob(z, x, seeds, trace="exact", draws=1),
        "hutchinson, 1 draw": lambda z, x, seeds: model.log_prob(
            z, x, seeds, trace="hutchinson", draws=1, method=solver
        ),
    }


def measured(scorer: Scorer, records: list[Any], repeats: int) -> dict[str, float]:
    """Processor seconds a molecule, mean and scatter of -log p in nats."""
    numbers, positions = [r.numbers for r in records], [r.positions for r in records]
    begun = time.process_time()
    runs = [
        scorer(numbers, positions, [molecule_seed(repeat, k) for k in range(len(records))])
        for repeat in range(repeats)
    ]
    seconds = (time.process_time() - begun) / (repeats * len(records))
    values = -np.array([[found.value for found in run] for run in runs])
    means = values.mean(0)
    errors = [found.integration_error for run in runs for found in run]
    return {
        "seconds": round(seconds, 3), "nats": round(float(means.mean()), 2),
        "interval": round(float(1.96 * means.std(ddof=1) / np.sqrt(len(records))), 2),
        "scatter": round(float(np.sqrt(values.var(0, ddof=1).mean())), 2),
        "integration_error": round(float(np.mean(errors)), 3),
    }  # fmt: skip


def table(models: dict[str, Any]) -> str:
    """The figures of all models as Markdown."""
    rows = [
        [
            f"`{name}`", way, f"{row['seconds']:.2g}", f"{row['nats']:.1f} ± {row['interval']:.1f}",
            f"{row['scatter']:.1f}", f"{row['integration_error']:.2f}" if row["integration_error"] else "",
            str(figures["molecules"]),
        ]
        for name, figures in models.items()
        for way, row in figures["rows"].items()
    ]  # fmt: skip
    headings = [
        "model",
        "method",
        "seconds a molecule",
        "mean of -log p",
        "scatter",
        "integration error",
        "molecules",
    ]
    return markdown(headings, rows)


def main(
    model: Annotated[list[str], typer.Option(help="A model; may be given again.")] = ["edm-qm9", "enf-qm9"],  # noqa: B006
    molecules: Annotated[int, typer.Option(help="Test molecules, evenly spread.", min=2)] = 16,
    repeats: Annotated[int, typer.Option(help="Scorings of each with other seeds.", min=2)] = 2,
    write: Annotated[bool, typer.Option(help="Keep the figures and put the table into the docs.")] = False,
) -> None:
    """Score with every method and print a table."""
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    console = Console()
    measured_models: dict[str, Any] = {}
    for name in model:
        loaded, card = shipped(name)
        scorers = edm_scorers(loaded) if isinstance(loaded, EDM) else enf_scorers(loaded)
        test = load_dataset(card["training"]["data"], "test")
        known = np.flatnonzero(np.isin(test.sizes, list(loaded.sizes.counts)))
        rows = known[np.linspace(0, len(known) - 1, molecules).astype(int)].tolist()
        records = [test[row] for row in rows]
        figures: dict[str, Any] = {"molecules": molecules, "weights": card["weights"]["sha256"], "rows": {}}
        for way, scorer in scorers.items():
            figures["rows"][way] = measured(scorer, records, repeats)
            console.print(f"{name}, {way}: {figures['rows'][way]}")
        measured_models[name] = figures
    console.print(table(measured_models))
    if write:
        for name, figures in measured_models.items():
            everything = kept("bound_or_exact", name, figures)
        put("choose-a-model", "bound_or_exact", table(everything))


if __name__ == "__main__":
    typer.run(main)
