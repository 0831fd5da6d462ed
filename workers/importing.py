"""`equimol import`: published checkpoints become models that the service offers like its own."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workers.settings import Settings


class Kind(StrEnum):
    """What kind of checkpoint it is."""

    edm = "edm"
    enf = "enf"
    egnn = "egnn"


class Behavior(StrEnum):
    """What happens where the published code has a bug that changes numbers."""

    corrected = "corrected"
    published = "published"


def import_model(
    kind: Annotated[
        Kind, typer.Argument(help="edm (QM9, GEOM-Drugs, conditional), enf, or egnn (a property model).")
    ],
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder with the weights and args.json or args.pickle.", exists=True, file_okay=False
        ),
    ],
    name: Annotated[str, typer.Option(help="The id that the model gets.")],
    behavior: Annotated[
        Behavior, typer.Option(help="published keeps the bugs that change numbers, for comparisons.")
    ] = Behavior.corrected,
    sizes: Annotated[
        Path | None,
        typer.Option(help="JSON object {atoms: count} in place of the data set's histogram.", exists=True),
    ] = None,
    licence: Annotated[str, typer.Option(help="The licence of the weights, for the card.")] = "",
    calibrate: Annotated[
        int, typer.Option(help="egnn: molecules of QM9 for intervals and the domain flag.")
    ] = 5000,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default the service's models folder.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a model of this name.")] = False,
) -> None:
    """Convert a published checkpoint into safetensors and a card, and let the service offer it.

    The weights are opened as weights only; a pickled args file is read without being run. A running service sees the
    model when it is started again.
    """
    from models.core.errors import ConfigError
    from models.published.saving import save_imported

    histogram = None
    if sizes is not None:
        try:
            histogram = {int(n): int(count) for n, count in json.loads(sizes.read_text()).items()}
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"{sizes.name} is no JSON object of sizes and counts: {error}") from error
    card = save_imported(
        kind.value, path, name, out or Settings().imported_folder, behavior=behavior.value, sizes=histogram,
        licence=licence, calibrate=calibrate, replace=replace,
    )  # fmt: skip
    typer.echo(f"{name}: {card}")
