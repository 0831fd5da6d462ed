"""Reads server-sent events line by line, and keeps a job document up to date with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.documents import Job
from workers.records import JobStatus, Progress


@dataclass(frozen=True)
class JobEvent:
    """One event of a job; `id` is what reading on after it needs."""

    id: str
    kind: str
    data: Mapping[str, Any]


class EventReader:
    """Feed it lines; it gives an event at the end of each block."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> JobEvent | None:
        """The event that `line` completes, if it completes one. Comments (heartbeats) are passed over."""
        if line == "":
            fields, self._fields = self._fields, {}
            if "data" not in fields:
                return None
            return JobEvent(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
        name, _, value = line.partition(":")
        if name:
            self._fields[name] = self._fields.get(name, "") + value.removeprefix(" ")
        return None


def updated(job: Job, event: JobEvent) -> Job:
    """The job as it is after an event."""
    if event.kind == "progress":
        known = {name: event.data[name] for name in Progress.model_fields if name in event.data}
        return job.model_copy(update={"progress": job.progress.model_copy(update=known)})
    if event.kind == "status":
        return job.model_copy(update={"status": JobStatus(event.data["status"])})
    return job
