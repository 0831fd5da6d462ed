"""What a worker does with units of work: claim, keep alive, finish, fail, give back.

Late writers are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.connection import store_errors
from workers.encoding import shard_from_json
from workers.problems import DeadlinePassed, EquimolProblem, WorkerLost
from workers.records import ResultFile, ShardPlan, ShardRecord
from workers.store import JobStore


@dataclass(frozen=True)
class Lease:
    """The right to work on one unit, until the token is overtaken."""

    job_id: str
    unit: str
    token: int
    attempt: int
    shard: ShardRecord


@dataclass(frozen=True)
class Refusal:
    """Why a unit was not given: gone, ended, busy, not-needed, given-up, expired.

    `next`: "final" needs a message.
    """

    reason: str
    next: str


class LeaseLostError(Exception):
    """Another worker has taken the unit over, or its job is gone: drop the work."""


class Leases:
    """The workers' side of the store."""

    def __init__(self, store: JobStore, worker: str) -> None:
        self.store = store
        self.worker = worker  # one process with one child; a new process has a new name

    def claim(self, job_id: str, unit: str) -> Lease | Refusal:
        """Take one unit, or learn why not."""
        answer = self.store.scripts.call(
            "claim",
            id=job_id,
            unit=unit,
            worker=self.worker,
            problem=worker_lost(self.store),
            expired=deadline_passed(),
        )
        if answer["outcome"] != "claimed":
            return Refusal(answer["outcome"], answer.get("next", ""))
        shard = shard_from_json(unit, json.dumps(answer["unit"]))
        return Lease(job_id, unit, answer["token"], answer["attempt"], shard)

    def beat(self, lease: Lease, progress: Mapping[str, int] | None = None) -> str:
        """Renew the lease, and record progress (done, valid, steps, steps_total); "" or why to stop.

        Raises LeaseLostError.
        """
        answer = self._held("beat", lease, progress=None if progress is None else dict(progress))
        return str(answer["stop"])

    @store_errors()
    def stopping(self, lease: Lease) -> str:
        """Why the unit should stop now ("": it should not): one cheap read, for every network call."""
        stop = self.store.redis.hget(self.store.key("job", lease.job_id), "stop")
        return "deleted" if stop is None else str(stop)

    def finish(self, lease: Lease, result: Mapping[str, Any]) -> str:
        """Hand in a shard: folder, rows, valid, passed, steps, device, seconds. Returns what comes next."""
        return self._next("finish", lease, result=dict(result))

    def fail(self, lease: Lease, problem: EquimolProblem, *, again: bool) -> str:
        """Report a problem; `again`: another attempt may help. Returns what comes next."""
        return self._next("fail", lease, problem=problem.to_document(), again=again)

    def release(self, lease: Lease) -> str:
        """Give the unit back without counting the attempt."""
        return self._next("release", lease)

    def extend(self, lease: Lease, shards: Sequence[ShardPlan], evaluations: int) -> tuple[str, list[str]]:
        """From the final unit: ask for further candidates (`evaluations` network calls each).

        Returns what comes next and the names of the new units, which need messages.
        """
        plans = [plan.model_dump() for plan in shards]
        answer = self._held("extend", lease, shards=plans, evaluations=evaluations)
        first = answer.get("first")
        names = [] if first is None else [str(first + i) for i in range(len(plans))]
        return str(answer["next"]), names

    def complete(self, lease: Lease, folder: str, files: Sequence[ResultFile], accepted: int) -> None:
        """From the final unit: the job's files are written into `folder`, the job ends."""
        text = json.dumps([file.model_dump() for file in files])
        self._held("complete", lease, folder=folder, files=text, accepted=accepted)

    def _next(self, script: str, lease: Lease, **arguments: Any) -> str:
        return str(self._held(script, lease, **arguments)["next"])

    def _held(self, script: str, lease: Lease, **arguments: Any) -> dict[str, Any]:
        answer = self.store.scripts.call(
            script, id=lease.job_id, unit=lease.unit, token=lease.token, **arguments
        )
        if answer["outcome"] == "lost":
            raise LeaseLostError(
                f"unit {lease.unit} of job {lease.job_id} is no longer ours (token {lease.token})"
            )
        return answer


def worker_lost(store: JobStore) -> dict[str, Any]:
    """The problem of a unit whose workers died as often as attempts are allowed."""
    attempts = store.settings.max_attempts
    return WorkerLost(
        f"the worker died or fell silent on all {attempts} attempts; "
        "the input may crash it or need too much memory",
        attempts=attempts,
    ).to_document()


def deadline_passed() -> dict[str, Any]:
    """The problem of a job that did not end in time."""
    return DeadlinePassed(
        "the job did not end before its deadline_seconds; molecules finished before are kept"
    ).to_document()
