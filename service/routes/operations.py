"""For operators: health, metrics, status of the queue, version."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Response

from service.access import Reader
from service.context import ContextDep
from service.documents import Version
from workers.presence import present_workers
from workers.problems import StoreUnavailable
from workers.records import QueueCounts
from workers.version import __version__

router = APIRouter(prefix="/v1", tags=["Operations"])

_LIBRARIES = ("celery", "fastapi", "pydantic", "redis", "starlette", "uvicorn")


@router.get("/health/live", summary="Is the process up?")
async def live() -> dict[str, str]:
    """Answers as long as the process can answer at all."""
    return {"status": "ok"}


@router.get("/health/ready", summary="Can it accept jobs?")
def ready(context: ContextDep) -> dict[str, str]:
    """200 when the job store answers, else a problem document with 503."""
    if not context.store.ping():
        raise StoreUnavailable("Redis does not answer, so no job can be accepted", retry_after=5)
    return {"status": "ok"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(context: ContextDep) -> Response:
    """HTTP requests and the queue, in Prometheus' text format."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/status", summary="How busy is it?")
def status(context: ContextDep, _: Reader) -> dict[str, Any]:
    """What is waiting and running in jobs, molecules and network evaluations, the bounds, and the workers."""
    settings = context.settings
    counts: QueueCounts = context.store.counts()
    limits = {
        "jobs": settings.queue_max_jobs,
        "molecules": settings.queue_max_molecules,
        "evaluations": settings.queue_max_evaluations,
    }
    workers = [worker.model_dump(exclude={"pid"}) for worker in present_workers(context.store)]
    return {"queue": counts.model_dump(), "limits": limits, "workers": workers}


@router.get("/version", summary="What runs here?")
async def show_version() -> Version:
    """Versions of the service and of the libraries under it."""
    return Version(
        name="equimol",
        version=__version__,
        python=platform.python_version(),
        libraries=dict(_versions(_LIBRARIES)),
    )


def _versions(names: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
