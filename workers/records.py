"""What the store knows about a job and its shards, as the API and the workers read it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FINAL = "final"
"""The unit of work that ends every job: it joins the shards' files. The other units are "0", "1", ..."""


class JobStatus(StrEnum):
    """queued -> running -> succeeded | failed | canceled | expired."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether the job will never change again."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Progress(_Record):
    """How far a job is.

    `total` and `steps_total` grow when a job with until_valid needs further candidates.
    """

    total: int = 0  # molecules (candidates, or molecules given)
    done: int = 0
    valid: int = 0  # of those done
    steps: int = 0  # network calls done over all shards
    steps_total: int = 0  # known once a shard has started


class Cost(_Record):
    """What a job takes from the queue's bounds."""

    molecules: int
    evaluations: int  # molecules times network calls


class ShardPlan(_Record):
    """One shard to be: items [start, start + count) of the job; for jobs with input also their bytes in the
    file.
    """

    start: int
    count: int
    byte_start: int = 0
    byte_count: int = 0


class ShardRecord(ShardPlan):
    """One shard (or the final unit) as the store holds it."""

    unit: str
    status: str  # waiting | queued | running | done | dropped
    attempt: int = 0
    token: int = 0
    worker: str = ""
    folder: str = ""  # where the accepted result lies, relative to the job's folder
    rows: int = 0
    valid: int = 0
    passed: int = 0
    device: str = ""
    seconds: float = 0.0


class InputFile(_Record):
    """The molecules given with a job, as they lie in the job's folder."""

    name: str  # input.sdf, input.xyz, input.smi, input.jsonl
    format: str  # sdf | xyz | smiles | json
    records: int
    bytes: int
    sha256: str


class ResultFile(_Record):
    """One file that a client can download after the job has ended."""

    name: str
    bytes: int
    sha256: str
    media_type: str


class NewJob(_Record):
    """All that is needed to create a job; `workers.submit` makes it from a request."""

    id: str
    family: str
    model: str | None
    capability: str
    queue: str
    owner: str
    labels: dict[str, str]
    request: dict[str, Any]
    request_hash: str
    seed: int
    deadline_seconds: float | None
    cost: Cost
    shards: tuple[ShardPlan, ...]
    input: InputFile | None = None
    weights_sha256: str | None = None
    idempotency_key: str | None = None


class JobRecord(_Record):
    """A job as the store holds it; times are UTC."""

    id: str
    family: str
    model: str | None
    capability: str
    queue: str
    owner: str
    labels: dict[str, str]
    request: dict[str, Any]
    seed: int
    status: JobStatus
    stopping: str = ""  # the status that a running job is heading for: canceled, expired or failed
    problem: dict[str, Any] | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    deadline: datetime | None = None
    expires: datetime | None = None  # when the job and its files are deleted
    progress: Progress
    cost: Cost
    shards: int
    shards_done: int = 0
    attempts: int = 0  # the most that any unit of the job needed
    redeliveries: int = 0  # how often a unit had to be started again
    accepted: int | None = None  # molecules in the files; known at the end
    input: InputFile | None = None
    folder: str = ""  # of the attempt that wrote the job's files, relative to the job's folder
    files: tuple[ResultFile, ...] = ()
    weights_sha256: str | None = None

    @property
    def ended(self) -> bool:
        return self.status.ended

    def path(self, name: str) -> str:
        """Where one of the job's files lies in the job's folder; known when the job has ended."""
        return f"{self.folder}/{name}"

    def queue_seconds(self) -> float | None:
        """How long the job waited before its first shard started."""
        return None if self.started is None else (self.started - self.created).total_seconds()


class JobPage(_Record):
    """One page of jobs, newest first; `cursor` asks for the next one, None: there is none."""

    jobs: tuple[JobRecord, ...]
    cursor: str | None


class Event(_Record):
    """One entry of a job's event stream; `id` is what Last-Event-ID carries."""

    id: str
    kind: str  # status | progress | shard
    data: dict[str, Any] = Field(default_factory=dict)


class QueueCounts(_Record):
    """What is waiting or running now, and the bounds."""

    jobs: int
    molecules: int
    evaluations: int
    waiting_shards: int
    running_shards: int


def utc(milliseconds: str | int | None) -> datetime | None:
    """The UTC time of a stored number of milliseconds; nothing stored gives None."""
    if milliseconds is None or milliseconds == "":
        return None
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC)
