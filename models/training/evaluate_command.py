"""`equimol evaluate`: measure a model and write the figures into its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from chemistry.datasets import load_dataset
from chemistry.datasets.reference import training_smiles
from models.core.errors import CheckpointError
from models.core.precision import fast_cpu_arithmetic
from models.edm.model import EDM
from models.training.evaluate import data_row, measure_bound, measure_samples
from models.weights import load_model
from models.weights.files import write_card

SHIPPED = Path(__file__).parents[1] / "weights"
LABELS = {
    "atom_stable": "atoms stable",
    "molecule_stable": "molecules stable",
    "valid": "valid",
    "unique": "unique among valid",
    "valid_and_unique": "valid and unique",
    "connected": "connected",
    "novel": "novel among unique",
}


def find_card(model: str) -> Path:
    """The card of a shipped model by id, or any card by path."""
    path = Path(model)
    if path.suffix != ".json":
        path = SHIPPED / f"{model}.json"
    if not path.is_file():
        known = sorted(file.stem for file in SHIPPED.glob("*.json"))
        raise CheckpointError(f"no model {model!r}; shipped models are {known}, or give the path of a card.")
    return path


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model (edm-qm9) or the path of a card.")],
    samples: Annotated[int, typer.Option(help="Molecules to sample.", min=2)] = 1000,
    steps: Annotated[int | None, typer.Option(help="Network calls a molecule [default: the card's].")] = None,
    sampler: Annotated[str | None, typer.Option(help="stochastic, heun, deterministic or ancestral.")] = None,
    churn: Annotated[float | None, typer.Option(help="Noise added back before each call.")] = None,
    seed: Annotated[int, typer.Option(help="Job seed of the samples.")] = 0,
    bound_molecules: Annotated[
        int, typer.Option(help="Test molecules for the bound; 0 leaves it out.")
    ] = 200,
    threads: Annotated[int, typer.Option(help="Threads; 0 leaves torch's choice.")] = 0,
    write: Annotated[bool, typer.Option(help="Write the figures into the card.")] = True,
) -> None:
    """Sample, judge by the published definitions, and put the data's own figures beside the model's."""
    console = Console()
    if threads:
        torch.set_num_threads(threads)
    fast_cpu_arithmetic()
    path = find_card(model)
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    loaded = cast(EDM, load_model(card, path.parent / card["weights"]["file"]))
    chosen = {
        k: v for k, v in card["defaults"].get("sample", {}).items() if k in ("steps", "sampler", "churn")
    }
    chosen |= {k: v for k, v in {"steps": steps, "sampler": sampler, "churn": churn}.items() if v is not None}
    data = card["training"]["data"]
    command = f"equimol evaluate {card['id']} --samples {samples} --seed {seed} " + " ".join(
        f"--{name} {value}" for name, value in sorted(chosen.items())
    )
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("real molecules", total=1)
        real = data_row(data)
        reference = training_smiles(load_dataset(data, "train"))
        bars.update(task, completed=1)
        task = bars.add_task("sampling", total=samples)
        figures = measure_samples(
            loaded, samples, reference=reference, seed=seed, **chosen,
            progress=lambda done: bars.update(task, completed=done),
        )  # fmt: skip
        bound: dict[str, float] | None = None
        if bound_molecules:
            scoring = bars.add_task("scoring", total=bound_molecules)
            bound = measure_bound(
                loaded, load_dataset(data, "test"), bound_molecules,
                progress=lambda done: bars.update(scoring, completed=done),
            )  # fmt: skip
    metrics = [
        {
            "name": name, "value": round(v.value, 5), "low": round(v.low, 5), "high": round(v.high, 5), "n": v.n,
            "data": round(real.values[name].value, 5), "steps": figures.calls, "command": command,
            "bond_rule": figures.metrics.bond_rule, "rdkit": figures.metrics.rdkit_version,
        }
        for name, v in figures.metrics.values.items()
    ]  # fmt: skip
    if bound is not None:
        metrics.append(
            {"name": "negative_bound_nats", **{k: round(v, 3) for k, v in bound.items()}, "command": command}
        )
    table = Table(
        title=f"{card['id']}: {samples} samples, {figures.calls} network calls each, {figures.seconds:.0f} s"
    )
    for heading in ("", "samples", "95 % interval", "real molecules"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, v in figures.metrics.values.items():
        table.add_row(
            LABELS[name], f"{100 * v.value:.1f} %", f"{100 * v.low:.1f} .. {100 * v.high:.1f}",
            f"{100 * real.values[name].value:.1f} %",
        )  # fmt: skip
    if bound is not None:
        table.add_row(
            "bound, nats", f"{-bound['value']:.1f}", f"{-bound['high']:.1f} .. {-bound['low']:.1f}", ""
        )
    table.add_row("diverged", str(figures.diverged), "", "")
    console.print(table)
    if write:
        write_card({**card, "metrics": metrics}, path.parent)
        console.print(f"written to {path.name}")
