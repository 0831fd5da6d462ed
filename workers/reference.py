"""`equimol reference`: score held-out molecules as the service does, so that every later score gets a percentile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from workers.adapters.base import Item
from workers.adapters.percentiles import FIGURES
from workers.cards import Card, load_card
from workers.engine import Engine, Shard
from workers.families import request_type
from workers.problems import Validation
from workers.schemas.base import InputRequest
from workers.settings import Settings

BATCH = 64
"""Molecules that are scored together, as in a job's shard."""


def reference(
    model: Annotated[str, typer.Argument(help="A shipped model (edm-qm9) or the path of a card.")],
    molecules: Annotated[int, typer.Option(help="Held-out molecules to score.", min=20)] = 1000,
    set: Annotated[
        list[str], typer.Option("--set", help="Any field of the score request, NAME=VALUE (JSON or text).")
    ] = [],  # noqa: B006 - typer reads the default and never changes it
    seed: Annotated[int, typer.Option(help="Seed of scores that are drawn.")] = 0,
) -> None:
    """Put the quantiles of held-out molecules' scores into a model's card; the service then tells percentiles.

    Run it again after the weights have changed. Example: `equimol reference edm-qm9 --set draws=32`.
    """
    from chemistry.datasets.held_out import held_out_records
    from models.training.evaluations.command import read_settings
    from models.weights.files import find_card, write_card

    path = find_card(model)
    given = read_settings(set)
    known = load_card(path)
    source = str(known.training.get("data", "")).partition("-")[0]
    records = held_out_records(source, molecules)
    with typer.progressbar(length=len(records), label="scoring") as bar:
        found = score_reference(known, records, given, seed, bar.update)
    words = "".join(f" --set {name}={json.dumps(value)}" for name, value in sorted(given.items()))
    command = f"equimol reference {known.id} --molecules {molecules} --seed {seed}{words}"
    card = json.loads(path.read_text(encoding="utf-8"))
    held_out = f"{source}/{'test' if source == 'moses' else 'valid'}"
    write_card({**card, "reference": found | {"data": held_out, "command": command}}, path.parent)
    typer.echo(f"{found['molecules']} of {len(records)} molecules scored; quantiles written to {path.name}")


def score_reference(
    card: Card,
    records: Sequence[tuple[str, str]],
    fields: dict[str, Any],
    seed: int = 0,
    progress: Any = lambda _: None,
) -> dict[str, Any]:
    """Quantiles, 0th to 100th percentile, of the scores of records `(text, format)`.

    Raises Validation when the model does not score molecules, or none of these.
    """
    import numpy as np

    settings = Settings(weights_folders=[card._folder])
    kind = request_type(card, "score", settings.plugins)
    if not issubclass(kind, InputRequest):
        raise Validation(f"model {card.id} scores no molecules")
    request = kind.model_validate({"molecules": {"smiles": ["C"]}, **kind.in_brief, **fields})
    request.check_model(card, settings)
    items = [Item(number, seed, text.encode(), form) for number, (text, form) in enumerate(records)]
    engine = Engine(settings, "cpu")
    rows: list[dict[str, Any]] = []
    bare = card.model_copy(update={"reference": {}})
    bare._folder = card._folder
    try:
        for start in range(0, len(items), BATCH):
            part = tuple(items[start : start + BATCH])
            shard = Shard(card.family, bare, "score", request, part)
            rows += [row.data for row in engine.run(shard, lambda _: None, lambda: False)]
            progress(len(part))
    finally:
        engine.close()
    figure = next((name for name in FIGURES if any(row.get(name) is not None for row in rows)), None)
    values = [row[figure] for row in rows if figure and row.get(figure) is not None]
    if figure is None or len(values) < len(records) / 2:
        raise Validation(f"model {card.id} scored only {len(values)} of {len(records)} held-out molecules")
    quantiles = [round(float(v), 4) for v in np.quantile(values, np.linspace(0, 1, 101))]
    made = {name: getattr(request, name) for name in ("method", "draws") if hasattr(request, name)}
    return {figure: quantiles, "molecules": len(values), "request": made | fields}
