"""`equimol models`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from service.cli.display import output
from service.cli.options import Key, Url, connect


def models(
    model: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole card as JSON.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the models of a service, or show one with its parameters and measured quality."""
    with connect(url, key) as service:
        if model is None and as_json:
            typer.echo(json.dumps([each.model_dump(mode="json") for each in service.models()], indent=2))
        elif model is None:
            table = Table("id", "title", "can", "elements", "atoms", "here")
            for each in service.models():
                low, high = each.size_range or ("", "")
                table.add_row(
                    each.id,
                    each.title,
                    ", ".join(each.capabilities),
                    " ".join(each.elements),
                    f"{low}-{high}".strip("-"),
                    "yes" if each.available else "no weights",
                )
            output.print(table)
        else:
            card = service.model(model)
            if as_json:
                typer.echo(json.dumps(card, indent=2))
                return
            _show(card)


def _show(card: dict[str, object]) -> None:
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    for name in ("id", "title", "summary", "licence", "elements", "size_range", "capabilities", "available"):
        value = card.get(name)
        table.add_row(
            name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        )
    output.print(table)
    metrics = card.get("metrics")
    if isinstance(metrics, list) and metrics:
        measured = Table("metric", "model", "95 % interval", "n", "data", title="measured")
        for each in metrics:
            low, high = each.get("low"), each.get("high")
            interval = "" if low is None or high is None else f"{low:g} to {high:g}"
            cells = (each["name"], f"{each['value']:g}", interval, each.get("n"), each.get("data"))
            measured.add_row(*("" if cell is None else str(cell) for cell in cells))
        output.print(measured)
    parameters = card.get("parameters")
    if isinstance(parameters, dict):
        for capability, schema in parameters.items():
            fields = Table("field", "default", "meaning", title=capability)
            for name, field in schema.get("properties", {}).items():
                fields.add_row(name, json.dumps(field.get("default")), field.get("description", ""))
            output.print(fields)
