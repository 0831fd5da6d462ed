"""`equimol evaluate`: measure a model and write the figures into its card."""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from models.core.errors import ConfigError
from models.core.precision import fast_cpu_arithmetic
from models.training.evaluations import Metric, Options, evaluation
from models.weights import load_model
from models.weights.files import find_card, write_card


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model (edm-qm9) or the path of a card.")],
    samples: Annotated[int, typer.Option(help="Items to sample.", min=2)] = 1000,
    test_items: Annotated[int, typer.Option(help="Held-out items to score; 0 leaves them out.", min=0)] = 200,
    steps: Annotated[
        int | None, typer.Option(help="Network calls a sample [default: the card's].", min=1)
    ] = None,
    set: Annotated[
        list[str], typer.Option("--set", help="Any setting of the family, NAME=VALUE (JSON or text).")
    ] = [],  # noqa: B006 - typer reads the default and never changes it
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads; 0 leaves torch's choice.")] = 0,
    write: Annotated[bool, typer.Option(help="Write the figures into the card.")] = True,
) -> None:
    """Measure a model as its family is measured, and put the figures of real data or of baselines beside its own."""
    console = Console()
    if threads:
        torch.set_num_threads(threads)
    fast_cpu_arithmetic()
    path = find_card(model)
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    settings = read_settings(set) | ({} if steps is None else {"steps": steps})
    loaded = load_model(card, path.parent / card["weights"]["file"])
    options = Options(samples, test_items, seed, settings)
    command = f"equimol evaluate {card['id']} --samples {samples} --test-items {test_items} --seed {seed}"
    for name, value in sorted(settings.items()):
        command += f" --set {shlex.quote(f'{name}={json.dumps(value)}')}"
    with Bars(console) as bars:
        metrics: list[Metric] = evaluation(card["family"]).evaluate(loaded, card, options, bars.watch)
    metrics = [metric | {"command": command} for metric in metrics]
    console.print(metric_table(f"{card['id']}: {command}", metrics))
    if write:
        write_card({**card, "metrics": metrics}, path.parent)
        console.print(f"written to {path.name}")


def read_settings(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that is no JSON is a text. Raises ConfigError when there is no '='."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name:
            raise ConfigError(f"--set takes NAME=VALUE, but was given {text!r}.")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


class Bars:
    """One progress bar for each thing that an evaluation does."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def watch(self, what: str, done: int, total: int) -> None:
        """Show how far `what` is."""
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=total)
        self.progress.update(self.tasks[what], completed=done, total=total)


def metric_table(title: str, metrics: list[Metric]) -> Table:
    """All figures with their intervals, and those of real data and of the baseline where there are any."""
    headings = {"data": "real data", "baseline": "baseline", "published": "published"}
    beside = [name for name in headings if any(name in metric for metric in metrics)]
    table = Table(title=title)
    for heading in ("", "value", "95 % interval", *(headings[name] for name in beside), "n"):
        table.add_column(heading, justify="right" if heading else "left")
    for metric in metrics:
        show = shown_as(metric.get("unit", ""))
        interval = f"{show(metric['low'])} .. {show(metric['high'])}" if "low" in metric else ""
        others = [show(metric[name]) if metric.get(name) is not None else "" for name in beside]
        table.add_row(
            metric["name"].replace("_", " "),
            show(metric["value"]),
            interval,
            *others,
            str(metric.get("n", "")),
        )
    return table


def shown_as(unit: str) -> Any:
    """How a figure of this unit is written."""
    if unit == "share":
        return lambda value: f"{100 * value:.1f} %"
    return lambda value: f"{value:.4g} {unit}".rstrip()
