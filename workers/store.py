"""The job store: create, read, list, cancel and delete jobs, follow their events. The record is the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from workers.connection import SOCKET_SECONDS, redis_client, store_errors
from workers.encoding import job_fields, job_from_hash, shard_from_json
from workers.ids import is_id
from workers.problems import (
    Canceled,
    IdempotencyConflict,
    LimitExceeded,
    NotFound,
    QueueFull,
    StoreUnavailable,
)
from workers.records import Event, JobPage, JobRecord, JobStatus, NewJob, QueueCounts, ShardRecord
from workers.scripts import Scripts
from workers.settings import Settings

if TYPE_CHECKING:
    import redis

_SCAN = 200
_SCAN_LIMIT = 2_000  # jobs looked at for one page with filters; the cursor goes on from there


class JobStore:
    """All jobs of one service, in one Redis database.

    Every change is one Lua script, so no step is ever half done.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.redis = client  # also for neighbours that keep small things there, such as rate limits
        self.settings = settings
        self.scripts = Scripts(client, settings)

    @classmethod
    def connect(cls, settings: Settings) -> JobStore:
        """The store at `settings.redis_url`, or at the embedded server's socket. Does not talk to it yet."""
        return cls(redis_client(settings), settings)

    def key(self, *parts: str) -> str:
        """A key of ours: PREFIX:PART:PART."""
        return ":".join((self.settings.key_prefix, *parts))

    def ping(self) -> bool:
        """Whether the server answers."""
        try:
            with store_errors():
                return bool(self.redis.ping())
        except StoreUnavailable:
            return False

    # --- creating ---------------------------------------------------------------------------------------

    def create(self, job: NewJob) -> tuple[JobRecord, bool]:
        """Store a new job; True: created now, False: this idempotency key already made this same job.

        Raises IdempotencyConflict (same key, other request), QueueFull and LimitExceeded.
        """
        settings = self.settings
        load = {"molecules": job.cost.molecules, "evaluations": job.cost.evaluations}
        answer = self.scripts.call(
            "create",
            id=job.id,
            job=job_fields(job),
            shards=[plan.model_dump() for plan in job.shards],
            load=load,
            deadline=None if job.deadline_seconds is None else round(job.deadline_seconds * 1000),
            idempotency=None if job.idempotency_key is None else f"{job.owner}:{job.idempotency_key}",
            bounds={
                "queue": {
                    "jobs": settings.queue_max_jobs,
                    "molecules": settings.queue_max_molecules,
                    "evaluations": settings.queue_max_evaluations,
                },
                "owner": {"jobs": settings.owner_max_jobs, "molecules": settings.owner_max_molecules},
            },
        )
        match answer["outcome"]:
            case "created":
                return self.get(job.id), True
            case "existing":
                return self.get(answer["id"]), False
            case "conflict":
                raise IdempotencyConflict(
                    "this Idempotency-Key was used with another request; use a new key for a new request",
                    job=answer["id"],
                )
            case "queue":
                raise QueueFull(_bound_detail("the queue", answer), retry_after=settings.busy_retry_seconds)
            case _:
                raise LimitExceeded(
                    _bound_detail("this API key", answer), retry_after=settings.busy_retry_seconds
                )

    # --- reading ----------------------------------------------------------------------------------------

    @store_errors()
    def get(self, job_id: str, *, owner: str | None = None) -> JobRecord:
        """One job; raises NotFound, also for the job of another owner when `owner` is given."""
        values = cast("dict[str, str]", self.redis.hgetall(self.key("job", job_id))) if is_id(job_id) else {}
        if not values or (owner is not None and values["owner"] != owner):
            raise NotFound(
                f"there is no job {job_id[:40]!r}; it may have been deleted after its retention time"
            )
        return job_from_hash(values)

    @store_errors()
    def shards(self, job_id: str) -> list[ShardRecord]:
        """The job's shards in order, without the final unit."""
        stored = cast("dict[str, str]", self.redis.hgetall(self.key("job", job_id, "shards")))
        units = [shard_from_json(name, text) for name, text in stored.items() if name.isdigit()]
        return sorted(units, key=lambda unit: int(unit.unit))

    @store_errors()
    def page(
        self,
        *,
        owner: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        status: JobStatus | None = None,
        model: str | None = None,
        capability: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> JobPage:
        """One page of jobs, newest first; `cursor` is what the page before returned.

        A page may be short or even empty while its cursor is not None, when the filters match few jobs.
        """
        index = self.key("jobs") if owner is None else self.key("jobs", owner)
        upper = f"({cursor}" if cursor is not None and is_id(cursor) else "+"
        found: list[JobRecord] = []
        last: str | None = None
        for _ in range(_SCAN_LIMIT // _SCAN):
            names = cast("list[str]", self.redis.zrevrangebylex(index, upper, "-", start=0, num=_SCAN))
            for job in self._many(names):
                if len(found) == limit:
                    return JobPage(jobs=tuple(found), cursor=last)
                last = job.id
                if _matches(job, status, model, capability, labels or {}):
                    found.append(job)
            if len(names) < _SCAN:
                return JobPage(jobs=tuple(found), cursor=None)
            last = names[-1]
            upper = f"({last}"
        return JobPage(jobs=tuple(found), cursor=last)

    def _many(self, names: list[str]) -> Iterator[JobRecord]:
        """Jobs by id, fetched a few at a time; ids whose job is gone are passed over."""
        for start in range(0, len(names), 25):
            pipe = self.redis.pipeline(transaction=False)
            for name in names[start : start + 25]:
                pipe.hgetall(self.key("job", name))
            for values in pipe.execute():
                if values:
                    yield job_from_hash(values)

    # --- stopping and deleting --------------------------------------------------------------------------

    def request_cancel(self, job_id: str) -> str:
        """Ask a job to stop; finished molecules are kept. Raises NotFound. Call `Desk.cancel` instead.

        Returns "ended" (it has ended, now or before), "final" (send that unit) or "" (workers are told).
        """
        problem = Canceled(
            "the job was canceled by a client; molecules finished before are kept"
        ).to_document()
        answer = self.scripts.call("cancel", id=job_id, problem=problem)
        if answer["outcome"] == "gone":
            raise NotFound(f"there is no job {job_id[:40]!r}")
        return str(answer.get("next", "ended"))

    def delete(self, job_id: str) -> bool:
        """Remove a job's record and events; False: there was none.

        Its files are removed by `Desk.delete`.
        """
        return bool(self.scripts.call("delete", id=job_id)["outcome"] == "deleted")

    # --- events and counts ------------------------------------------------------------------------------

    @store_errors()
    def events(self, job_id: str, after: str = "0", *, block_seconds: float = 0.0) -> list[Event]:
        """Events later than `after` (a Last-Event-ID; "0" or nonsense: from the start).

        Waits up to `block_seconds` (15 at most) for one; 0 does not wait.
        """
        block = round(min(block_seconds, SOCKET_SECONDS / 2) * 1000) or None
        answer = self.redis.xread({self.key("job", job_id, "events"): event_id(after)}, block=block)
        return read_events(answer)

    @store_errors()
    def counts(self) -> QueueCounts:
        """How much is waiting and running now."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.hgetall(self.key("load"))
        pipe.zcard(self.key("ready"))
        pipe.zcard(self.key("leases"))
        load, waiting, running = pipe.execute()
        return QueueCounts(
            jobs=int(load.get("jobs", 0)),
            molecules=int(load.get("molecules", 0)),
            evaluations=int(load.get("evaluations", 0)),
            waiting_shards=waiting,
            running_shards=running,
        )

    @store_errors()
    def metrics(self) -> dict[str, str]:
        """The raw counters of `workers.metrics`."""
        return cast("dict[str, str]", self.redis.hgetall(self.key("metrics")))


def event_id(text: str) -> str:
    """A safe stream id from a client's Last-Event-ID."""
    parts = text.split("-")
    return text if len(parts) <= 2 and all(part.isdigit() and len(part) <= 15 for part in parts) else "0"


def read_events(answer: Any) -> list[Event]:
    """Events from the answer of XREAD, in either protocol's form."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    entries = [entry for stream in streams for entry in (stream[0] if isinstance(answer, dict) else stream)]
    return [Event(id=name, kind=fields["kind"], data=json.loads(fields["data"])) for name, fields in entries]


def _matches(
    job: JobRecord,
    status: JobStatus | None,
    model: str | None,
    capability: str | None,
    labels: Mapping[str, str],
) -> bool:
    return (
        (status is None or job.status is status)
        and (model is None or job.model == model)
        and (capability is None or job.capability == capability)
        and all(job.labels.get(name) == value for name, value in labels.items())
    )


def _bound_detail(who: str, answer: Mapping[str, Any]) -> str:
    return (
        f"{who} holds {answer['current']} {answer['what']} and this request adds {answer['wanted']}, "
        f"but the limit is {answer['limit']}; wait for jobs to end, or ask for less"
    )
