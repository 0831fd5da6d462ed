"""`equimol keys`: create, list and revoke API keys in the keys file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.cli.exits import CommandError
from service.keys import SCOPES, make_key, read_keys, write_keys
from service.places import keys_file
from workers.settings import Settings

File = Annotated[
    Path | None,
    typer.Option(
        "--file", help="The keys file; by default EQUIMOL_KEYS_FILE or keys.json in the data folder."
    ),
]


def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for your own memory.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What the key may do; repeat for several: {', '.join(SCOPES)}.")
    ] = ["submit", "read"],  # noqa: B006 - typer reads the default and never changes it
    file: File = None,
) -> None:
    """Create an API key. It is shown once: the file keeps only its digest.

    submit: start jobs, cancel and delete one's own. read: see one's own jobs and results. admin: everything,
    for all jobs. A running service takes the key at once.
    """
    path = _path(file)
    token, key = make_key(name, scope)
    write_keys(path, [*read_keys(path), key])
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    notes.print(
        f"Key {key.id} for {name} ({', '.join(key.scopes)}) is stored in {path}.\n"
        "This is the key itself; keep it, it is not shown again:"
    )
    typer.echo(token)


def list_keys(file: File = None) -> None:
    """List the keys: id, name, scopes, day of creation."""
    table = Table("id", "name", "scopes", "created")
    for key in read_keys(_path(file)):
        table.add_row(key.id, key.name, ", ".join(key.scopes), key.created)
    Console().print(table if table.row_count else f"There are no keys in {_path(file)}.")


def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `equimol keys list` shows.")],
    file: File = None,
) -> None:
    """Revoke a key. A running service refuses it from then on."""
    path = _path(file)
    keys = read_keys(path)
    left = [key for key in keys if key.id != key_id]
    if len(left) == len(keys):
        known = ", ".join(key.id for key in keys) or "none"
        raise CommandError(f"there is no key {key_id} in {path}; keys there: {known}")
    write_keys(path, left)
    typer.echo(f"Key {key_id} is revoked.")


def _path(file: Path | None) -> Path:
    return file or keys_file(Settings())
