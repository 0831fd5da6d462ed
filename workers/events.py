"""Following a job's events without holding a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from workers.connection import store_errors
from workers.problems import StoreUnavailable
from workers.records import Event, JobStatus
from workers.settings import Settings
from workers.store import event_id, read_events

if TYPE_CHECKING:
    import redis.asyncio

RETRY_SECONDS = 1.0
GRACE_SECONDS = 5.0


async def follow(
    client: redis.asyncio.Redis, settings: Settings, job_id: str, after: str = "0"
) -> AsyncIterator[Event | None]:
    """Events later than `after` as they come, and None after each `event_heartbeat_seconds` of silence.

    Ends with the job, also when the job is deleted. The caller has checked that the job exists.
    """
    stream = _Stream(client, f"{settings.key_prefix}:job:{job_id}", event_id(after))
    wait = 0.0  # the first look takes what is there
    while True:
        try:
            events = await stream.read(wait)
            gone = not events and await stream.job_has_ended()
            if gone:  # between the two looks it may have said so
                events = await stream.read(0.0)
        except StoreUnavailable:
            yield None  # the stream goes on where it was when the server is back
            await asyncio.sleep(RETRY_SECONDS)
            continue
        for event in events:
            yield event
            if ends(event):
                return
        if gone:
            return
        if not events and wait:
            yield None
        wait = settings.event_heartbeat_seconds


class _Stream:
    """The events of one job and the place where the reader is."""

    def __init__(self, client: redis.asyncio.Redis, key: str, last: str) -> None:
        self._client, self._key, self._last = client, key, last

    async def read(self, seconds: float) -> list[Event]:
        """The next events, waiting for them; none after so many seconds, also when the server is slow."""
        block = max(1, round(seconds * 1000)) if seconds else None
        waiting = self._client.xread({f"{self._key}:events": self._last}, block=block)
        try:
            with store_errors():
                events = read_events(await asyncio.wait_for(waiting, seconds + GRACE_SECONDS))
        except TimeoutError:
            return []
        if events:
            self._last = events[-1].id
        return events

    async def job_has_ended(self) -> bool:
        """Whether nothing will come any more; a server that does not answer in time says no."""
        try:
            with store_errors():
                status = await asyncio.wait_for(self._client.hget(self._key, "status"), GRACE_SECONDS)
        except TimeoutError:
            return False
        return status is None or JobStatus(str(status)).ended


def ends(event: Event) -> bool:
    """Whether this event says that the job has ended."""
    return event.kind == "status" and JobStatus(event.data["status"]).ended
