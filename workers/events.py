"""Following a job's events without holding a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from workers.records import Event, JobStatus
from workers.settings import Settings
from workers.store import event_id, read_events

if TYPE_CHECKING:
    import redis.asyncio


async def follow(
    client: redis.asyncio.Redis, settings: Settings, job_id: str, after: str = "0"
) -> AsyncIterator[Event | None]:
    """Events later than `after` as they come, and None after each `event_heartbeat_seconds` of silence.

    Ends with the job, also when the job is deleted. The caller has checked that the job exists.
    """
    stream = f"{settings.key_prefix}:job:{job_id}:events"
    last = event_id(after)
    while True:
        block = max(1, round(settings.event_heartbeat_seconds * 1000))
        events = read_events(await client.xread({stream: last}, block=block))
        for event in events:
            last = event.id
            yield event
            if ends(event):
                return
        if not events:
            values = await client.hget(f"{settings.key_prefix}:job:{job_id}", "status")
            if values is None or JobStatus(str(values)).ended:
                return
            yield None


def ends(event: Event) -> bool:
    """Whether this event says that the job has ended."""
    return event.kind == "status" and JobStatus(event.data["status"]).ended
