"""Command line verbs of this storey; `service.cli` finds them by name and typer turns them into commands."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import rdkit
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from chemistry.datasets import store
from chemistry.datasets.importing import Imported, ImportOptions, Rejected, import_molecules
from chemistry.datasets.store import Description
from chemistry.elements import SYMBOLS
from chemistry.errors import ChemistryError
from chemistry.formats import FORMATS, Format
from chemistry.guard import Guard

_SUFFIXES: dict[str, Format] = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".smi": "smiles",
    ".smiles": "smiles",
}
_MAX_LINE = 1_000_000  # longer lines are read in pieces and rejected with their record


def data_import(
    file: Annotated[Path, typer.Argument(help="SDF, XYZ or SMILES file.", exists=True, dir_okay=False)],
    name: Annotated[str, typer.Option(help="Name of the data set; the file's name by default.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write; in the cache by default.")] = None,
    format: Annotated[str, typer.Option(help="sdf, xyz or smiles; by the file's ending by default.")] = "",
    max_atoms: Annotated[int, typer.Option(help="Reject larger molecules.", min=1, max=1000)] = 200,
    add_hydrogens: Annotated[bool, typer.Option(help="Give the hydrogens that an SDF implies.")] = False,
    keep_disconnected: Annotated[bool, typer.Option(help="Keep molecules of several fragments.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the coordinates made for SMILES.")] = 0,
    valid_fraction: Annotated[float, typer.Option(min=0.0, max=0.5)] = 0.1,
    test_fraction: Annotated[float, typer.Option(min=0.0, max=0.5)] = 0.1,
) -> None:
    """Make a checked data set of your molecules: elements, sizes, splits, and what was rejected and why."""
    console = Console()
    name = name or file.stem
    try:
        folder = out or store.named_folder(name)
        options = ImportOptions(
            format=_format_of(file, format),
            max_atoms=max_atoms,
            add_hydrogens=add_hydrogens,
            keep_disconnected=keep_disconnected,
            seed=seed,
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
        )
        if folder.exists():
            raise ChemistryError(f"{folder} exists; choose another --name or --out, or remove it")
        imported, digest = _read(file, options, console)
        if imported.n_accepted == 0:
            _print_rejected(imported, console)
            raise ChemistryError(f"no molecule of {file.name} could be used; nothing was written")
        origin = {
            "file": file.name,
            "sha256": digest,
            "rdkit": rdkit.__version__,
            "options": {key: value for key, value in vars(options).items()},
            "rejected": dict(imported.rejected_by_code()),
        }
        description = store.write(
            folder, name, imported.splits, origin, lambda to: _write_rejected(to, imported.rejected)
        )
    except (ChemistryError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(2) from error
    _print_summary(imported, description, folder, console)


def _format_of(file: Path, stated: str) -> Format:
    found = stated or _SUFFIXES.get(file.suffix.lower(), "")
    for known in FORMATS:
        if found == known:
            return known
    raise ChemistryError(f"cannot tell the format of {file.name}; say --format sdf, xyz or smiles")


def _read(file: Path, options: ImportOptions, console: Console) -> tuple[Imported, str]:
    """What was imported, and the SHA-256 of the file."""
    columns = (
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[records]} molecules"),
    )
    with (
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar,
        Guard(timeout_seconds=60) as guard,
        file.open("rb") as source,
    ):
        task = bar.add_task("", total=file.stat().st_size, records=0)
        digest = hashlib.sha256()
        lines = _lines(source, digest, lambda size: bar.advance(task, size))
        imported = import_molecules(lines, options, guard, lambda n: bar.update(task, records=n))
    return imported, digest.hexdigest()


def _lines(source: BinaryIO, digest: hashlib._Hash, advance: Callable[[int], None]) -> Iterator[str]:
    while piece := source.readline(_MAX_LINE):
        digest.update(piece)
        advance(len(piece))
        yield piece.decode("utf-8", errors="replace")


def _write_rejected(folder: Path, rejected: list[Rejected]) -> None:
    with (folder / "rejected.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["record", "title", "code", "reason", "atoms"])
        for item in rejected:
            for reason in item.reasons:
                atoms = " ".join(map(str, reason.atoms))
                writer.writerow([item.index + 1, item.title, reason.code, reason.message, atoms])


def _print_summary(imported: Imported, description: Description, folder: Path, console: Console) -> None:
    table = Table(title=f"{description.title}: {imported.n_accepted} molecules")
    for heading in ("split", "molecules", "atoms per molecule", "elements", "hash"):
        table.add_column(heading, justify="right" if heading == "molecules" else "left")
    for split, data in imported.splits.items():
        sizes = data.sizes
        span = f"{sizes.min()} to {sizes.max()}, mean {sizes.mean():.1f}" if len(sizes) else ""
        elements = " ".join(SYMBOLS[number] for number in data.elements)
        table.add_row(split, str(len(data)), span, elements, data.content_hash[:12])
    console.print(table)
    _print_rejected(imported, console)
    if properties := [name for name in description.units]:
        console.print(f"properties: {', '.join(properties)}")
    if imported.dropped_properties:
        names = ", ".join(imported.dropped_properties[:10])
        console.print(f"[yellow]left out, because they are not numbers for every molecule: {names}[/yellow]")
    if imported.without_hydrogens > imported.n_accepted / 2:
        console.print("[yellow]most molecules have no hydrogen atoms; --add-hydrogens gives them[/yellow]")
    empty = [split for split, data in imported.splits.items() if not len(data)]
    if empty:
        console.print(f"[yellow]no molecule fell into {' and '.join(empty)}; the set is very small[/yellow]")
    console.print(f"written to {folder}")


def _print_rejected(imported: Imported, console: Console) -> None:
    if not imported.rejected:
        return
    table = Table(title=f"{len(imported.rejected)} rejected (all of them are in rejected.csv)")
    for heading in ("reason", "molecules", "first"):
        table.add_column(heading)
    for code, count in imported.rejected_by_code().most_common():
        first = next(item for item in imported.rejected if item.reasons[0].code == code)
        table.add_row(code, str(count), escape(f"record {first.index + 1}: {first.reasons[0].message}"))
    console.print(table)
