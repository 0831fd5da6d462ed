"""Reads the body of a job request: JSON, an upload with a JSON part, or a bare molecule file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.exceptions import HTTPException

from service.validation import parse_json
from workers.problems import EquimolProblem, Validation

FILE_TYPES: dict[str, str] = {
    "chemical/x-mdl-sdfile": "sdf",
    "chemical/x-mdl-molfile": "sdf",
    "chemical/x-xyz": "xyz",
    "chemical/x-daylight-smiles": "smiles",
}
"""Content types of molecule files, and the field of `molecules` that each fills."""

SUFFIXES: dict[str, str] = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".xyz": "xyz",
    ".smi": "smiles",
    ".smiles": "smiles",
}

CONTROL_PARAMETERS = frozenset({"dry_run"})
"""Query parameters that belong to the request itself, not to the job."""

_MOST_PARTS = 2
_PART_BYTES = 1 << 20
_LARGE_BYTES = 1 << 16


class UnsupportedType(EquimolProblem):
    """The body has a content type that this service does not read."""

    code, title, status = "unsupported-type", "The content type is not supported", 415


async def read_request(request: Request, *, takes_molecules: bool) -> dict[str, Any]:
    """The request as a JSON object. Raises Validation and UnsupportedType."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return await _parsed(await request.body())
    if not takes_molecules:
        raise UnsupportedType(f"{kind!r} was sent; this request is read as application/json only")
    if kind == "multipart/form-data":
        return await _from_form(request)
    if kind in FILE_TYPES:
        fields = from_query(request.query_params)
        return fields | {"molecules": molecules(await request.body(), FILE_TYPES[kind])}
    wanted = ", ".join(("application/json", "multipart/form-data", *FILE_TYPES))
    raise UnsupportedType(f"{kind!r} was sent; wanted one of {wanted}")


def molecules(data: bytes, format: str) -> dict[str, Any]:
    """The `molecules` object for a file's bytes; old tools write Latin-1 where it is not UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if format == "smiles":
        return {"smiles": [line for line in text.splitlines() if line.strip()]}
    return {format: text}


def from_query(query: QueryParams) -> dict[str, Any]:
    """Job parameters from the query: `draws=8&filters.valid=true`; values are JSON, else text."""
    fields: dict[str, Any] = {}
    for name, text in query.multi_items():
        if name in CONTROL_PARAMETERS:
            continue
        *parents, last = name.split(".")
        place = fields
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise Validation(f"the query gives {parent!r} both a value and parts")
        place[last] = _value(text)
    return fields


async def _from_form(request: Request) -> dict[str, Any]:
    try:
        async with request.form(max_files=1, max_fields=_MOST_PARTS, max_part_size=_PART_BYTES) as form:
            return await _read_form(form)
    except HTTPException as error:
        fault = {"pointer": "", "detail": str(error.detail)}
        raise Validation(f"the form cannot be read: {error.detail}", errors=[fault]) from error


async def _read_form(form: FormData) -> dict[str, Any]:
    unknown = sorted(set(form) - {"file", "request"})
    if unknown:
        fault = {"pointer": "", "detail": f"there is no part {unknown[0]!r}"}
        raise Validation(f"the form has a part {unknown[0]!r}; wanted 'file' and 'request'", errors=[fault])
    file, fields = form.get("file"), form.get("request", "{}")
    if not isinstance(file, UploadFile):
        fault = {"pointer": "", "detail": "there is no part 'file'"}
        raise Validation("the form has no part 'file' with a molecule file", errors=[fault])
    text = await fields.read() if isinstance(fields, UploadFile) else fields.encode()
    return _object(text) | {"molecules": molecules(await file.read(), _format(file))}


def _format(file: UploadFile) -> str:
    name = (file.filename or "").lower()
    suffix = name[name.rfind(".") :] if "." in name else ""
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    kind = (file.content_type or "").lower()
    if kind in FILE_TYPES:
        return FILE_TYPES[kind]
    wanted = ", ".join(SUFFIXES)
    raise UnsupportedType(f"the uploaded file's format is unknown: its name should end with one of {wanted}")


async def _parsed(body: bytes) -> dict[str, Any]:
    """A large body is parsed in a thread, so that other requests do not wait for it."""
    return _object(body) if len(body) <= _LARGE_BYTES else await run_in_threadpool(_object, body)


def _object(body: bytes) -> dict[str, Any]:
    value = parse_json(body) if body.strip() else {}
    if not isinstance(value, Mapping):
        raise Validation(
            "the request must be a JSON object", errors=[{"pointer": "", "detail": "must be an object"}]
        )
    return dict(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
