"""Every failure leaves the service as a problem document (RFC 9457)."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.validation import describe
from workers.problems import EquimolProblem, Internal, NotFound, TooLarge, Validation

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


def problem_response(problem: EquimolProblem, instance: str | None = None) -> Response:
    """The HTTP answer for a problem."""
    headers = dict(problem.headers)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="equimol"'
    return JSONResponse(problem.to_document(instance), problem.status, headers=headers, media_type=MEDIA_TYPE)


def too_large(limit: int) -> Response:
    """The answer to a body over `limit` bytes."""
    return problem_response(
        TooLarge(
            f"the request body is larger than {limit} bytes; send fewer molecules at a time",
            limit_bytes=limit,
        )
    )


def install(app: FastAPI) -> None:
    """Register the handlers that turn exceptions into problem documents."""
    app.add_exception_handler(EquimolProblem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)


async def _on_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, EquimolProblem):
        raise error
    return problem_response(error, request.url.path)


async def _on_validation(request: Request, error: Exception) -> Response:
    """Faulty path, query and header parameters; bodies are checked by service.submission."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = []
    for fault in error.errors():
        place, *path = fault["loc"]
        entry = describe([{**fault, "loc": ()}], None, ())[0] | {
            "parameter": str(path[0]) if path else str(place)
        }
        errors.append({**entry, "in": str(place)})
    detail = "; ".join(f"{entry['parameter']}: {entry['detail']}" for entry in errors)
    return problem_response(Validation(detail, errors=errors), request.url.path)


async def _on_http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: unknown paths, wrong methods, broken multipart bodies."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.NOT_FOUND:
        known = "the paths are listed under /docs and /openapi.json"
        return problem_response(
            NotFound(f"there is nothing at {request.url.path}; {known}"), request.url.path
        )
    phrase = HTTPStatus(error.status_code).phrase
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": phrase,
        "status": error.status_code,
        "detail": str(error.detail),
        "instance": request.url.path,
    }
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "other methods")
        document["detail"] = f"{request.method} is not possible at {request.url.path}; it takes {allowed}"
    return JSONResponse(document, error.status_code, headers=dict(error.headers or {}), media_type=MEDIA_TYPE)


async def _on_fault(request: Request, error: Exception) -> Response:
    """A fault of our own: the log has it all, the client gets the name of the log entry."""
    reference = secrets.token_hex(6)
    _log.error("fault %s at %s %s", reference, request.method, request.url.path, exc_info=error)
    return problem_response(
        Internal(f"the service failed; its log has the details under {reference}"), request.url.path
    )
