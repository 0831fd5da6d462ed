"""The stable problem types of the service (RFC 9457), shared by the API and the workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class EquimolProblem(Exception):  # noqa: N818 - a problem in the sense of RFC 9457
    """A failure with a stable type, an HTTP status and a document that a client can act on.

    `detail` says what was given, what was wanted and what to do; `extensions` are further members.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The service failed"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extensions: dict[str, Any] = extensions

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that go with the document: Retry-After when the problem passes by itself."""
        seconds = self.extensions.get("retry_after")
        return {} if seconds is None else {"Retry-After": str(max(1, math.ceil(float(seconds))))}

    def to_document(self, instance: str | None = None) -> dict[str, Any]:
        """The problem document; `instance` is the path of the request or job that met the problem."""
        document: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            document["instance"] = instance
        return document | self.extensions


class Validation(EquimolProblem):
    """The request does not fit its schema; `errors` points at every fault."""

    code, title, status = "validation", "The request is not valid", 422

    def __init__(self, detail: str, errors: Sequence[Mapping[str, Any]] = (), **extensions: Any) -> None:
        super().__init__(detail, errors=[dict(error) for error in errors], **extensions)


class TooLarge(EquimolProblem):
    """The body or the job is larger than this server accepts; the same request never passes."""

    code, title, status = "too-large", "The request is too large", 413


class LimitExceeded(EquimolProblem):
    """The caller has reached its share (jobs, molecules, requests per minute); it passes later."""

    code, title, status = "limit-exceeded", "A limit of this API key is reached", 429


class QueueFull(EquimolProblem):
    """The queue of the whole service is at its bound; it passes later."""

    code, title, status = "queue-full", "The queue is full", 503


class NotFound(EquimolProblem):
    """No such job, model, molecule or file (or it belongs to another key)."""

    code, title, status = "not-found", "Not found", 404


class NotReady(EquimolProblem):
    """The thing asked for exists only after the job has ended."""

    code, title, status = "not-ready", "Not ready yet", 409


class Unauthorized(EquimolProblem):
    """The request carries no valid API key."""

    code, title, status = "unauthorized", "A valid API key is needed", 401


class Forbidden(EquimolProblem):
    """The API key is valid, but its scopes do not cover the request."""

    code, title, status = "forbidden", "This API key may not do that", 403


class IdempotencyConflict(EquimolProblem):
    """The idempotency key was used before with another request."""

    code, title, status = "idempotency-conflict", "The idempotency key belongs to another request", 422


class ModelUnavailable(EquimolProblem):
    """The model is known, but its weights are missing or damaged."""

    code, title, status = "model-unavailable", "The model is not available", 503


class BadStructure(EquimolProblem):
    """The molecules given cannot be read at all."""

    code, title, status = "bad-structure", "The molecules cannot be read", 422


class BadMatrix(EquimolProblem):
    """A matrix without a finite log-determinant: singular, or not positive definite where it should be."""

    code, title, status = "bad-matrix", "The matrix has no such determinant", 422


class DeadlinePassed(EquimolProblem):
    """The job's deadline passed before it could end."""

    code, title, status = "deadline", "The deadline has passed", 504


class Canceled(EquimolProblem):
    """The job was canceled; molecules finished before are kept."""

    code, title, status = "canceled", "The job was canceled", 409


class WorkerLost(EquimolProblem):
    """Workers died on the job as often as attempts are allowed."""

    code, title, status = "worker-lost", "The worker was lost", 500


class OutOfMemory(EquimolProblem):
    """Even a single molecule of the job does not fit the device's memory."""

    code, title, status = "out-of-memory", "The device ran out of memory", 500


class Numerical(EquimolProblem):
    """The network gave numbers that are not finite."""

    code, title, status = "numerical", "The computation diverged", 500


class Internal(EquimolProblem):
    """A fault of the service itself; the detail names the log entry, never the internals."""


class StoreUnavailable(EquimolProblem):
    """The job store (Redis) does not answer."""

    code, title, status = "store-unavailable", "The job store does not answer", 503


PROBLEMS: dict[str, type[EquimolProblem]] = {
    kind.code: kind
    for kind in (
        Validation,
        TooLarge,
        LimitExceeded,
        QueueFull,
        NotFound,
        NotReady,
        Unauthorized,
        Forbidden,
        IdempotencyConflict,
        ModelUnavailable,
        BadStructure,
        BadMatrix,
        DeadlinePassed,
        Canceled,
        WorkerLost,
        OutOfMemory,
        Numerical,
        Internal,
        StoreUnavailable,
    )
}
"""Every problem type by its code; the API serves their descriptions under /problems/CODE."""
