"""The OpenAPI document: request schemas of every model, problem answers, and one text for readers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.context import Context
from service.documents import Problem

DESCRIPTION = """
Post a request to a model, get a job, follow it, download SDF or XYZ.

1. `POST /v1/models/{model}/sample` answers `202` with the job and its address in `Location`.
2. `GET /v1/jobs/{id}` tells how far it is; `GET /v1/jobs/{id}/events` tells it as it happens.
3. `GET /v1/jobs/{id}/molecules` lists the molecules while the job runs;
   at the end `/files/molecules.sdf` has them all.

An accepted job is stored and survives restarts. The same seed gives the same molecules. Send an
`Idempotency-Key` and repeat a request as often as the network needs. Every error is a problem document
(RFC 9457) whose `type` can be opened.
""".strip()

_REF = "#/components/schemas/{model}"


def install(app: FastAPI, context: Context) -> None:
    """Make the document when it is first asked for, and keep it."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _make(app, context)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _make(app: FastAPI, context: Context) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    kinds: list[type[BaseModel]] = [Problem, *(offer.kind for offer in context.offers)]
    references, definitions = models_json_schema(
        [(kind, "validation") for kind in dict.fromkeys(kinds)], ref_template=_REF
    )
    for offer in context.offers:
        content = schema["paths"][offer.path]["post"]["requestBody"]["content"]
        content["application/json"]["schema"] = references[offer.kind, "validation"]
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components.update(definitions["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for path in schema["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["default"] = {
                "description": "A problem document.",
                "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}},
            }
    return schema
