"""Turns pydantic's errors into the `errors` of a problem document: JSON pointers and hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from workers.problems import Validation

Model = TypeVar("Model", bound=BaseModel)

_MOST_ERRORS = 20
_UNKNOWN = "extra_forbidden"


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises Validation for broken JSON, NaN and nesting over 200 levels."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Validation(
            f"the request body is not JSON this service accepts: {error}",
            errors=[{"pointer": "", "detail": str(error)}],
        ) from error


def parse_model(kind: type[Model], value: Any, *, inside: str = "") -> Model:
    """`value` as a `kind`; raises Validation with a pointer (under `inside`) and a reason for every fault."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        errors = describe(
            error.errors(include_url=False, include_context=False), value, field_names(kind), inside
        )
        raise Validation(_summary(errors), errors=errors) from error


def describe(
    errors: Iterable[ErrorDetails | Mapping[str, Any]], value: Any, names: Sequence[str], inside: str = ""
) -> list[dict[str, str]]:
    """One entry per faulty place; the branches of a union that were all refused become one entry."""
    places: dict[str, list[ErrorDetails | Mapping[str, Any]]] = {}
    for error in errors:
        path = real_path(error["loc"], value, missing=error["type"] == "missing")
        pointer = inside + "".join(f"/{escape(str(part))}" for part in path)
        places.setdefault(pointer, []).append(error)
    entries = []
    for pointer, found in list(places.items())[:_MOST_ERRORS]:
        # Where one branch of a union took the value's type, what the other branches say is noise.
        telling = [error for error in found if not _is_about_type(error)] or found
        entry = {"pointer": pointer, "detail": "; or ".join(dict.fromkeys(map(_message, telling)))}
        if telling[0]["type"] == _UNKNOWN and (hint := suggestion(str(telling[0]["loc"][-1]), names)):
            entry["hint"] = hint
        entries.append(entry)
    return entries


def real_path(location: Sequence[str | int], value: Any, *, missing: bool) -> list[str | int]:
    """The part of pydantic's location that exists in the value: the names of union branches do not."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside_mapping = isinstance(value, Mapping) and part in value
        inside_list = isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int)
        if inside_mapping or (inside_list and int(part) < len(value)):
            value = value[part]
            path.append(part)
        elif missing and index == len(location) - 1:
            path.append(part)
    return path


def escape(part: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def suggestion(name: str, names: Sequence[str]) -> str | None:
    """A hint for a field that does not exist."""
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the fields are {', '.join(names)}" if names else None


def field_names(kind: type[BaseModel]) -> tuple[str, ...]:
    """The names that a request may have, those of nested objects included."""
    schema = TypeAdapter(kind).json_schema()
    nested = (definition.get("properties", {}) for definition in schema.get("$defs", {}).values())
    return tuple(
        dict.fromkeys([*schema.get("properties", {}), *(name for names in nested for name in names)])
    )


def _is_about_type(error: ErrorDetails | Mapping[str, Any]) -> bool:
    kind: str = error["type"]
    return kind.endswith(("_type", "_parsing")) or kind == "literal_error"


def _message(error: ErrorDetails | Mapping[str, Any]) -> str:
    if error["type"] == _UNKNOWN:
        return "there is no such field"
    if error["type"] == "missing":
        return "this field is required"
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "must be an object"
    text: str = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return text[:1].lower() + text[1:]


def _summary(errors: Sequence[Mapping[str, str]]) -> str:
    count = len(errors)
    first = errors[0]
    place = first["pointer"] or "the body"
    rest = f" (and {count - 1} more)" if count > 1 else ""
    hint = f"; {first['hint']}" if "hint" in first else ""
    return f"{place}: {first['detail']}{hint}{rest}"
