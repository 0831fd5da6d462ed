"""`equimol sample`, `score`, `convert`, `validate` and `run`: start a job, wait for it, save the result."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.display import molecule_table, notes, output, wait_with_bar
from service.cli.exits import CommandError, Exit
from service.cli.options import Detach, Key, Seed, Set, Url, connect, parameters, sizes
from service.client import Equimol, JobHandle

Model = Annotated[str, typer.Argument(help="The model's id; `equimol models` lists them.")]
Input = Annotated[
    str, typer.Argument(help="An SDF, XYZ or SMILES file, a SMILES, or the id of a finished job.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where to save; the suffix says what: .sdf, .xyz, .smi, .csv or .zip."),
]


def sample(
    model: Model,
    molecules: Annotated[int | None, typer.Option("--molecules", "-n", help="How many.")] = None,
    atoms: Annotated[
        str | None, typer.Option(help="Atoms per molecule, hydrogen included: data, 18, 9-20 or 12,14.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Network evaluations per molecule.")] = None,
    until_valid: Annotated[
        bool | None, typer.Option("--until-valid", help="Go on until so many valid ones are found.")
    ] = None,
    seed: Seed = None,
    set: Set = [],  # noqa: B006 - typer reads the default and never changes it
    out: Out = None,
    detach: Detach = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Generate molecules and save them.

    Examples: `equimol sample edm-qm9 -n 16 -o molecules.sdf`;
    `equimol sample edm-qm9 -n 100 --until-valid --set filters.connected=true -o good.xyz`.
    """
    given = {
        "n_atoms": sizes(atoms),
        "steps": steps,
        "until_valid": until_valid,
        "seed": seed,
    }
    _check_out(out)
    with connect(url, key) as service:
        if molecules is not None:
            given[_count_field(service, model)] = molecules
        handle = service.sample(model, **parameters(given, set))
        _finish(handle, "sampling", out, detach=detach)


def score(
    model: Model,
    molecules: Input,
    method: Annotated[str | None, typer.Option(help="bound, or probability-flow.")] = None,
    draws: Annotated[
        int | None, typer.Option(help="Random draws per molecule; more make the error smaller.")
    ] = None,
    seed: Seed = None,
    set: Set = [],  # noqa: B006
    out: Out = None,
    detach: Detach = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Compute how likely molecules are under a model: log p in nats with its standard error.

    Example: `equimol score edm-qm9 molecules.sdf -o scores.csv`.
    """
    given = {"method": method, "draws": draws, "seed": seed}
    _check_out(out)
    with connect(url, key) as service:
        handle = service.score(model, _molecules(molecules), **parameters(given, set))
        _finish(handle, "scoring", out, detach=detach)


def run(
    model: Model,
    capability: Annotated[str, typer.Argument(help="What it can do; `equimol models MODEL` lists that.")],
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="Molecules (a file, a SMILES, a finished job's id), or a .json file with the request's fields.",
        ),
    ] = None,
    seed: Seed = None,
    set: Set = [],  # noqa: B006
    out: Out = None,
    detach: Detach = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Ask a model for any of its capabilities.

    Examples: `equimol run egnn-qm9 predict molecules.sdf -o properties.csv`;
    `equimol run egnn-nbody predict systems.json`; `equimol run egnn-graphs sample --set n_graphs=8`.
    """
    _check_out(out)
    fields: dict[str, Any] = {"seed": seed}
    if given is not None:
        fields |= _fields(given)
    with connect(url, key) as service:
        handle = service.run(model, capability, **parameters(fields, set))
        _finish(handle, capability, out, detach=detach)


def convert(
    source: Annotated[Path, typer.Argument(help="An SDF, XYZ or SMILES file.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="The file to write: .sdf, .xyz or .smi.")],
    seed: Seed = None,
    set: Set = [],  # noqa: B006
    url: Url = None,
    key: Key = None,
) -> None:
    """Convert molecules between SDF, XYZ and SMILES; from SMILES, coordinates are made.

    Example: `equimol convert molecules.xyz molecules.sdf`.
    """
    _check_out(target)
    with connect(url, key) as service:
        handle = service.convert(source, **parameters({"seed": seed}, set))
        _finish(handle, "converting", target)


def validate(
    molecules: Input,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when a molecule is not valid.")
    ] = False,
    set: Set = [],  # noqa: B006
    out: Out = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Say of each molecule whether it is valid and connected, and if not, why.

    Example: `equimol validate molecules.sdf`.
    """
    _check_out(out)
    with connect(url, key) as service:
        handle = service.validate(_molecules(molecules), **parameters({}, set))
        _finish(handle, "checking", out)
        if out is not None:
            output.print(molecule_table(handle.molecules()))
        if strict and any(not molecule.valid for molecule in handle.molecules()):
            raise CommandError("not all molecules are valid")


_SUFFIXES = (".sdf", ".xyz", ".smi", ".csv", ".zip", ".eqm")


def _check_out(out: Path | None) -> None:
    """Refuse a path that cannot be written before any work is done."""
    if out is None:
        return
    if out.suffix.lower() not in _SUFFIXES:
        raise CommandError(f"{out} was given; its suffix should be one of {', '.join(_SUFFIXES)}", Exit.USAGE)
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent}", Exit.USAGE)


def _count_field(service: Equimol, model: str) -> str:
    """What the model calls the number of things to sample: n_molecules, n_graphs or another n_..."""
    schema = service.model(model).get("parameters", {}).get("sample", {})
    return next((name for name in schema.get("properties", {}) if name.startswith("n_")), "n_molecules")


def _fields(given: str) -> dict[str, Any]:
    """The fields of a request in a JSON file, a compressed library, or the molecules that anything else names."""
    path = Path(given)
    if path.suffix.lower() == ".eqm" and path.is_file():
        return {"library": base64.b64encode(path.read_bytes()).decode()}
    if path.suffix.lower() != ".json":
        return {"molecules": _molecules(given)}
    if not path.is_file():
        raise CommandError(f"there is no file {path}", Exit.USAGE)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{path} is no JSON: {error}", Exit.USAGE) from error
    if not isinstance(fields, dict):
        raise CommandError(f"{path} should hold the fields of a request, as one JSON object", Exit.USAGE)
    return fields


def _molecules(text: str) -> Any:
    """A file that exists, a job's id, or a SMILES."""
    path = Path(text)
    if path.is_file():
        return path
    if len(text) == 26 and text.isalnum() and text[0].isdigit():
        return {"job": text}
    if path.suffix.lower() in (".sdf", ".xyz", ".smi", ".mol"):
        raise CommandError(f"there is no file {path}", Exit.USAGE)
    return {"smiles": [text]}


def _finish(handle: JobHandle, what: str, out: Path | None, *, detach: bool = False) -> None:
    if detach:
        typer.echo(handle.id)
        return
    try:
        wait_with_bar(handle, what)
    except KeyboardInterrupt:
        notes.print(f"the job goes on: equimol jobs watch {handle.id}, or equimol jobs cancel {handle.id}")
        raise
    if out is None:
        output.print(molecule_table(handle.molecules()))
        notes.print(f"to save them: equimol jobs save {handle.id} molecules.sdf")
        return
    handle.save(out, name="all.zip" if out.suffix == ".zip" else None)
    job = handle.document
    notes.print(
        f"{job.accepted} of {job.progress.total} molecules are in {out} (seed {job.seed}, job {job.id})"
    )
