"""Server-sent events of a job: what happened so far, then what happens, with a heartbeat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from service.access import JobToRead
from service.context import Context, ContextDep
from workers.connection import store_errors
from workers.events import follow
from workers.problems import StoreUnavailable
from workers.records import Event

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

RETRY_MILLISECONDS = 2000
_HEADERS = {"X-Accel-Buffering": "no"}  # tells nginx to pass events on at once

LastEventId = Annotated[str | None, Header(description="The id of the last event seen; later ones are sent.")]
After = Annotated[
    str | None, Query(description="The same as Last-Event-ID, for clients that cannot set headers.")
]


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "Events of the kinds status, progress and shard.",
        },
        204: {"description": "The job has ended and there is nothing later than the last event seen."},
    },
)
async def events(
    job: JobToRead, context: ContextDep, last_event_id: LastEventId = None, after: After = None
) -> Response:
    """Starts with the first event, or after `Last-Event-ID`; the stream ends with the job."""
    start = last_event_id or after or "0"
    # 204 is how server-sent events tell a browser not to connect again.
    if job.ended and not await run_in_threadpool(context.store.events, job.id, start):
        return Response(status_code=204)
    return StreamingResponse(
        _stream(context, job.id, start), media_type="text/event-stream", headers=_HEADERS
    )


async def _stream(context: Context, job_id: str, after: str) -> AsyncIterator[str]:
    with context.metrics.streams.track_inprogress(), suppress(StoreUnavailable):
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        with store_errors():  # a stream that breaks off is one that the client takes up again
            async for event in follow(context.events, context.settings, job_id, after):
                yield ": still here\n\n" if event is None else encode(event)


def encode(event: Event) -> str:
    """One event in the format of the HTML standard; JSON has no line breaks, so one data line is enough."""
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(event.data, separators=(',', ':'))}\n\n"
