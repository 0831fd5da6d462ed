"""`equimol replay`: run a job again from its manifest and say whether the same came out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from service.cli.display import notes, output, wait_with_bar
from service.cli.exits import CommandError, Exit
from service.cli.options import Key, Url, connect
from service.client import Equimol, JobHandle
from workers.manifest import replay_body


def replay(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="A job's manifest.json, or its all.zip (with the input).", exists=True, dir_okay=False
        ),
    ],
    molecules: Annotated[
        Path | None,
        typer.Option("--input", help="The job's input file, if it had one.", exists=True, dir_okay=False),
    ] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Run a job again from its manifest and compare the results. Exit code 1 when they differ.

    Files are compared byte by byte; where one differs (another processor rounds differently) and the old
    molecules are at hand in all.zip, their SMILES are compared instead.
    """
    document, text, old = _read(manifest, molecules)
    with connect(url, key) as service:
        _warn(document, service)
        body = replay_body(document, text)
        handle = service.submit(_path(document), **body)
        wait_with_bar(handle, "replaying")
        handle.refresh()
        same = _compare(document, handle, old)
    if not same:
        raise CommandError(f"the results differ from those of job {document['job']}")
    notes.print(f"the same as job {document['job']}")


def _read(path: Path, molecules: Path | None) -> tuple[dict[str, Any], str | None, str | None]:
    """The manifest, the text of the input if the job had one, and the old SMILES if they are at hand."""
    try:
        if not zipfile.is_zipfile(path):
            document = json.loads(path.read_text(encoding="utf-8"))
            return document, molecules.read_text(encoding="utf-8") if molecules else None, None
        with zipfile.ZipFile(path) as archive:
            document = json.loads(archive.read("manifest.json"))
            given = document.get("input")
            text = archive.read(given["name"]).decode() if given else None
            names = archive.namelist()
            return (
                document,
                text,
                archive.read("molecules.smi").decode() if "molecules.smi" in names else None,
            )
    except (ValueError, KeyError) as error:
        raise CommandError(f"{path} is not a manifest of a job ({error})", Exit.USAGE) from error


def _path(document: Mapping[str, Any]) -> str:
    if document["model"] is None:
        return f"/v1/{document['capability']}"
    return f"/v1/models/{document['model']}/{document['capability']}"


def _warn(document: Mapping[str, Any], service: Equimol) -> None:
    if document["model"] is None:
        return
    weights = (service.model(document["model"]).get("weights") or {}).get("sha256")
    if weights != document["weights_sha256"]:
        notes.print(
            f"[yellow]the service has other weights for {document['model']} than the manifest names[/yellow]"
        )


def _compare(document: Mapping[str, Any], handle: JobHandle, old_smiles: str | None) -> bool:
    new = {file.name: file.sha256 for file in handle.document.files}
    table = Table("file", "same")
    same = True
    for file in document["files"]:
        if file["name"] == "manifest.json":
            continue  # tells times and devices, so it always differs
        equal = new.get(file["name"]) == file["sha256"]
        same &= equal
        table.add_row(file["name"], "[green]yes[/green]" if equal else "[red]no[/red]")
    if not same and old_smiles is not None:
        equal = handle.text("molecules.smi") == old_smiles
        table.add_row("SMILES of all molecules", "[green]yes[/green]" if equal else "[red]no[/red]")
        same = equal
    output.print(table)
    return same
