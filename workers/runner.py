"""What a worker does with one message: claim the unit, compute it or join the job, hand the result in."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from workers.adapters.base import Item, StepProgress
from workers.cards import Card, CardShelf
from workers.engine import Engine, Shard, is_out_of_memory
from workers.families import capabilities
from workers.heartbeat import Heartbeat
from workers.inputs import records_of
from workers.joining import accepting, finished_rows, join, more_candidates
from workers.leases import Lease, LeaseLostError, Leases, Refusal
from workers.manifest import write_manifest
from workers.problems import EquimolProblem, Internal, NotFound, OutOfMemory, StoreUnavailable
from workers.records import FINAL, JobRecord, ShardPlan
from workers.schemas.base import JobRequest
from workers.settings import Settings
from workers.shardfiles import ShardWriter, shard_folder
from workers.submit import Desk

_log = logging.getLogger(__name__)


class Runner:
    """One per worker process. `shutting_down` tells that the worker was asked to end."""

    def __init__(
        self, desk: Desk, engine: Engine, worker: str, shutting_down: Callable[[], bool] = lambda: False
    ) -> None:
        self.desk, self.engine, self.shutting_down = desk, engine, shutting_down
        self.settings: Settings = desk.settings
        self.leases = Leases(desk.store, worker)
        self.shelf = CardShelf(self.settings.model_folders)

    def work(self, job_id: str, unit: str, delivery_tag: str | None = None) -> None:
        """Do one unit; when it was the last shard of its job, also the final unit.

        Never raises for a bad job.
        """
        following = self._unit(job_id, unit, delivery_tag)
        while following == FINAL and not self.shutting_down():
            unit = FINAL
            following = self._unit(job_id, unit, delivery_tag)
        if following in (FINAL, "queued"):
            unit = FINAL if following == FINAL else unit
            self.desk.queue.send(job_id, [unit], self.desk.store.get(job_id).queue)

    def _unit(self, job_id: str, unit: str, delivery_tag: str | None) -> str:
        """One unit; returns what comes next: "final", "queued" (send it again), "ended" or ""."""
        lease = self.leases.claim(job_id, unit)
        if isinstance(lease, Refusal):
            _log.info("unit %s of job %s is not for us: %s", unit, job_id, lease.reason)
            return lease.next
        _log.info("unit %s of job %s: attempt %d", unit, job_id, lease.attempt)
        try:
            with Heartbeat(self.settings, self.leases, lease, delivery_tag) as heartbeat:
                job = self.desk.store.get(job_id)
                if unit == FINAL:
                    return self._final(job, lease, heartbeat)
                return self._shard(job, lease, heartbeat)
        except LeaseLostError as error:
            _log.warning("%s: dropping the work", error)
            self._clean_up_after_deletion(job_id)
            return ""
        except EquimolProblem as problem:
            return self._failed(lease, problem, again=isinstance(problem, StoreUnavailable))
        except Exception as error:
            if is_out_of_memory(error):
                return self._failed(lease, OutOfMemory("the device's memory does not suffice"), again=False)
            reference = uuid.uuid4().hex[:12]
            _log.exception("unit %s of job %s failed (reference %s)", unit, job_id, reference)
            detail = f"the worker met an unexpected {type(error).__name__}; log reference {reference}"
            return self._failed(lease, Internal(detail), again=True)

    def _clean_up_after_deletion(self, job_id: str) -> None:
        """What was written while the job was being deleted goes too."""
        try:
            self.desk.store.get(job_id)
        except NotFound:
            self.desk.files.delete(job_id)

    def _failed(self, lease: Lease, problem: EquimolProblem, *, again: bool) -> str:
        try:
            return self._insist(lambda: self.leases.fail(lease, problem, again=again))
        except LeaseLostError:
            return ""

    # --- shards -----------------------------------------------------------------------------------------

    def _shard(self, job: JobRecord, lease: Lease, heartbeat: Heartbeat) -> str:
        request = self.request(job)
        shard = Shard(job.family, self.card(job), job.capability, request, self._items(job, lease))
        folder = shard_folder(lease.unit, lease.token)
        watch = _Watch(self, lease, heartbeat)
        started = time.monotonic()
        try:
            with ShardWriter(self.desk.files, job.id, folder) as writer:
                for row in self.engine.run(shard, watch.progress, watch.cancelled):
                    writer.add(row)
                    watch.count(writer.rows, writer.valid)
                if writer.rows < len(shard.items):
                    watch.explain()
            result = {
                "folder": folder,
                "rows": writer.rows,
                "valid": writer.valid,
                "passed": writer.passed,
                "steps": watch.steps,
                "device": self.engine.device,
                "seconds": round(time.monotonic() - started, 3),
            }
            return self._insist(lambda: self.leases.finish(lease, result))
        except LeaseLostError:
            self.desk.files.delete(job.id, folder)
            raise
        except _GiveBackError:
            _log.info("shutting down: unit %s of job %s goes back to the queue", lease.unit, job.id)
            return self.leases.release(lease)

    def request(self, job: JobRecord) -> JobRequest:
        """The job's request as it was checked at the door; its molecules lie in the input file."""
        kind = capabilities(job.family, self.settings.plugins)[job.capability]
        given = {"molecules": {"job": job.id}} if job.input is not None else {}
        return kind.model_validate(job.request | given)

    def card(self, job: JobRecord) -> Card | None:
        """The card of the job's model. Raises NotFound and ModelUnavailable."""
        if job.model is None:
            return None
        card = self.shelf.get(job.model)
        card.require_available()
        return card

    def _items(self, job: JobRecord, lease: Lease) -> tuple[Item, ...]:
        shard = lease.shard
        indices = range(shard.start, shard.start + shard.count)
        if job.input is None:
            return tuple(Item(index, job.seed) for index in indices)
        data = self.desk.files.read(job.id, job.input.name, shard.byte_start, shard.byte_count)
        records = records_of(data, job.input.format)
        return tuple(
            Item(index, job.seed, record, job.input.format)
            for index, record in zip(indices, records, strict=True)
        )

    # --- the end of a job -------------------------------------------------------------------------------

    def _final(self, job: JobRecord, lease: Lease, heartbeat: Heartbeat) -> str:
        request = self.request(job)
        shards = self.desk.store.shards(job.id)
        if not job.stopping and request.candidate_limit is not None:
            tried = sum(shard.count for shard in shards)
            rows = accepting(finished_rows(self.desk.files, job.id, shards), request)
            accepted = sum(bool(row["accepted"]) for row in rows)
            more = more_candidates(request, tried, accepted)
            if more:
                return self._extend(job, lease, request, tried, more)
        folder = f"files-{lease.token}"  # of this attempt, so that a late one cannot touch the accepted files
        files, accepted = join(self.desk.files, job, folder, shards, request, heartbeat.touch)
        files.append(write_manifest(self.desk.files, job, folder, shards, files, accepted))
        self._remove_leftovers(job.id, {folder, *(shard.folder for shard in shards)})
        self._insist(lambda: self.leases.complete(lease, folder, files, accepted))
        return "ended"

    def _extend(self, job: JobRecord, lease: Lease, request: JobRequest, tried: int, more: int) -> str:
        size = self.settings.shard_size
        plans = [
            ShardPlan(start=start, count=min(size, tried + more - start))
            for start in range(tried, tried + more, size)
        ]
        following, units = self.leases.extend(lease, plans, request.evaluations_per_item())
        self.desk.queue.send(job.id, units, job.queue)
        return following

    def _remove_leftovers(self, job_id: str, accepted: set[str]) -> None:
        """Remove the folders of attempts that were overtaken."""
        files = self.desk.files
        found = {f"shards/{name}" for name in files.folders(job_id, "shards")}
        found |= {name for name in files.folders(job_id, "") if name.startswith("files-")}
        for folder in found - accepted:
            files.delete(job_id, folder)

    def _insist(self, action: Callable[[], str | None]) -> str:
        """Hand in finished work also when Redis is away for a while: the heartbeat's lease is still ours
        then.
        """
        pause = 0.1
        while True:
            try:
                return action() or ""
            except StoreUnavailable as error:
                if self.shutting_down():
                    raise
                _log.warning("the store does not answer, trying again: %s", error)
                time.sleep(pause)
                pause = min(2 * pause, 5.0)


class _GiveBackError(Exception):
    """The worker was asked to end before the shard was finished."""


class _Watch:
    """Between the engine and the store: reports progress now and then, and looks whether to stop."""

    def __init__(self, runner: Runner, lease: Lease, heartbeat: Heartbeat) -> None:
        self._runner, self._lease, self._heartbeat = runner, lease, heartbeat
        self.steps = self._total = self._done = self._valid = 0
        self._reported = 0.0

    def progress(self, step: StepProgress) -> None:
        self.steps, self._total = step.steps, step.steps_total
        self._report()

    def count(self, done: int, valid: int) -> None:
        self._done, self._valid = done, valid
        self._report()

    def cancelled(self) -> bool:
        """Whether the engine should end early."""
        self._heartbeat.touch()
        if self._heartbeat.lost or self._runner.shutting_down():
            return True
        try:
            return self._runner.leases.stopping(self._lease) != ""
        except StoreUnavailable:
            return False  # without Redis nobody can have asked

    def explain(self) -> None:
        """The engine ended early: raise when the shard should not be handed in."""
        if self._heartbeat.lost:
            raise LeaseLostError(f"unit {self._lease.unit} of job {self._lease.job_id} was taken over")
        if self._runner.shutting_down() and self._runner.leases.stopping(self._lease) == "":
            raise _GiveBackError

    def _report(self) -> None:
        self._heartbeat.touch()
        now = time.monotonic()
        if now - self._reported < self._runner.settings.progress_seconds:
            return
        self._reported = now
        values = {"done": self._done, "valid": self._valid, "steps": self.steps, "steps_total": self._total}
        try:
            self._runner.leases.beat(self._lease, values)
        except StoreUnavailable:
            return  # progress is only for the eye
