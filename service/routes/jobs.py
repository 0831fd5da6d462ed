"""Jobs: list, look, cancel, delete, manifest."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from service.access import JobToChange, JobToRead, Reader
from service.context import ContextDep
from service.documents import Job, JobList
from service.wire import job_document
from workers.problems import Validation
from workers.records import JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

Label = Annotated[list[str], Query(alias="label", description="`name:value`; repeat it to ask for several.")]


@router.get("", summary="List jobs, newest first")
def list_jobs(
    request: Request,
    response: Response,
    context: ContextDep,
    caller: Reader,
    status: JobStatus | None = None,
    model: str | None = None,
    capability: str | None = None,
    label: Label = [],  # noqa: B006 - FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> JobList:
    """Your jobs (all jobs for an admin key). A page can be short while `next_cursor` still leads on."""
    page = context.store.page(
        owner=caller.visible_owner,
        cursor=cursor,
        limit=limit,
        status=status,
        model=model,
        capability=capability,
        labels=_labels(label),
    )
    add_next_link(request, response, page.cursor)
    return JobList(items=[job_document(job) for job in page.jobs], next_cursor=page.cursor)


@router.get("/{job_id}", summary="Look at a job")
def show_job(response: Response, job: JobToRead) -> Job:
    """Status, progress, attempts, times, files and, when it failed, the problem."""
    if not job.ended:
        response.headers["Retry-After"] = "1"
    return job_document(job)


@router.post("/{job_id}/cancel", summary="Cancel a job")
def cancel_job(job: JobToChange, context: ContextDep) -> Job:
    """Takes effect within one network call. Finished molecules are kept. An ended job stays as it is."""
    return job_document(context.desk.cancel(job.id))


@router.delete("/{job_id}", status_code=204, summary="Delete a job")
def delete_job(job: JobToChange, context: ContextDep) -> None:
    """Stops the job if it runs, and removes its record and its files at once."""
    context.desk.delete(job.id)


@router.get("/{job_id}/manifest", summary="What is needed to make the same result again")
def manifest(job: JobToRead, context: ContextDep) -> Response:
    """Request, seeds, versions, weights, device and file hashes. `equimol replay` runs it again."""
    context.results.file(job, "manifest.json")
    headers = {"Content-Disposition": f'attachment; filename="{job.id}.json"'}
    return Response(
        context.files.read(job.id, job.path("manifest.json")), headers=headers, media_type="application/json"
    )


def add_next_link(request: Request, response: Response, cursor: str | None) -> None:
    """The Link header (RFC 8288) that leads to the next page with the same filters."""
    if cursor is None:
        return
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    response.headers["Link"] = f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def _labels(texts: list[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            fault = {"parameter": "label", "in": "query", "detail": "must be name:value"}
            raise Validation(f"label {text!r} was given; wanted name:value", errors=[fault])
        labels[name] = value
    return labels
