"""Options that several commands share, and what they make of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from service.cli.exits import CommandError, Exit
from service.client import Equimol

Url = Annotated[
    str | None, typer.Option(envvar="EQUIMOL_URL", help="The service. [default: http://127.0.0.1:8000]")
]
Key = Annotated[
    str | None, typer.Option(envvar="EQUIMOL_API_KEY", help="An API key, if the service asks for one.")
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same result.")]
Set = Annotated[
    list[str],
    typer.Option(
        "--set", help="Any other field of the request: name=value, or name.part=value; repeat for more."
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait for it.")]

_SPAN = re.compile(r"(\d+)-(\d+)")


def connect(url: str | None, key: str | None) -> Equimol:
    """The client for the options given."""
    return Equimol(url, key=key)


def sizes(text: str | None) -> Any:
    """What `--atoms` means: data, a number, a range such as 9-20, or several numbers with commas."""
    if text is None or text == "data":
        return text
    if match := _SPAN.fullmatch(text):
        return {"min": int(match.group(1)), "max": int(match.group(2))}
    numbers = text.split(",")
    if not all(number.strip().isdigit() for number in numbers):
        raise CommandError(f"--atoms {text} was given; wanted data, 18, 9-20 or 12,14,18", Exit.USAGE)
    return int(text) if len(numbers) == 1 else [int(number) for number in numbers]


def parameters(given: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The fields of a request: those given (None is left out), and those of `--set`."""
    fields = {name: value for name, value in given.items() if value is not None}
    for text in settings:
        path, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--set {text} was given; wanted name=value", Exit.USAGE)
        *parents, last = path.split(".")
        place = fields
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _value(value)
    return fields


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
