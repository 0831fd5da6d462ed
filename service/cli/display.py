"""What commands show: a progress bar on standard error, tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from service.client import Job, JobHandle, Molecule

notes = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False)

_MOST_ROWS = 40


def wait_with_bar(handle: JobHandle, what: str) -> JobHandle:
    """Wait for a job behind a progress bar. Raises JobFailedError."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        console=notes,
    ) as progress:
        task = progress.add_task(what, total=1.0, numbers="waiting")

        def show(job: Job) -> None:
            progress.update(task, completed=fraction(job), numbers=numbers(job))

        handle.wait(on_change=show)
    return handle


def fraction(job: Job) -> float:
    """How far a job is, from 0 to 1: by network calls where they are known, else by molecules."""
    if job.ended:
        return 1.0
    progress = job.progress
    by_steps = progress.steps / progress.steps_total if progress.steps_total else 0.0
    by_molecules = progress.done / progress.total if progress.total else 0.0
    return min(1.0, max(by_steps, by_molecules))


def numbers(job: Job) -> str:
    """The job in a few words."""
    progress = job.progress
    if job.status.value == "queued":
        return "waiting"
    return f"{progress.done} of {progress.total} done, {progress.valid} valid"


def molecule_table(molecules: Iterable[Molecule]) -> Table:
    """The first molecules of a job; columns without any value are left out."""
    rows: list[dict[str, str]] = []
    more = 0
    for molecule in molecules:
        if len(rows) == _MOST_ROWS:
            more += 1
            continue
        rows.append(_cells(molecule))
    names = [name for name in _COLUMNS if any(row[name] for row in rows)] or ["#"]
    # On a narrow terminal only the long texts give way.
    widths = {name: _width(name, rows) for name in names}
    fixed = sum(width + 3 for name, width in widths.items() if name not in _LONG) + 1
    room = (output.width - fixed) // max(1, sum(name in _LONG for name in names)) - 3
    columns = [
        Column(name, no_wrap=True, max_width=max(8, room))
        if name in _LONG
        else Column(name, no_wrap=True, min_width=widths[name])
        for name in names
    ]
    table = Table(*columns, caption=f"and {more} more" if more else None)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


_LONG = ("SMILES", "why not")
_COLUMNS = ("#", "formula", "atoms", "valid", "one piece", "log p", "SMILES", "why not")


def _width(name: str, rows: Sequence[Mapping[str, str]]) -> int:
    return max(len(name), *(Text.from_markup(row[name]).cell_len for row in rows))


def _cells(molecule: Molecule) -> dict[str, str]:
    extra = molecule.model_extra or {}
    value, error = extra.get("log_likelihood"), extra.get("standard_error")
    score = "" if value is None else f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")
    return {
        "#": str(molecule.index),
        "formula": molecule.formula or "",
        "atoms": "" if molecule.n_atoms is None else str(molecule.n_atoms),
        "valid": _yes_no(molecule.valid),
        "one piece": _yes_no(molecule.connected),
        "log p": score,
        "SMILES": molecule.smiles or "",
        "why not": ", ".join(dict.fromkeys(reason.code for reason in molecule.reasons)),
    }


def _yes_no(value: bool | None) -> str:
    return "" if value is None else "[green]yes[/green]" if value else "[red]no[/red]"
