"""The one way into the service: turn a checked request into a stored job, cancel it, delete it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from workers.cards import Card, CardShelf
from workers.families import model_free_family
from workers.files import ResultFiles
from workers.ids import new_id
from workers.inputs import PreparedInput, prepare, prepare_bytes
from workers.problems import NotReady, TooLarge, Validation
from workers.queue import JobQueue
from workers.records import FINAL, Cost, JobRecord, JobStatus, NewJob, ShardPlan
from workers.schemas.base import JobRequest
from workers.schemas.molecules import Molecules
from workers.settings import Settings
from workers.store import JobStore


@dataclass(frozen=True)
class Desk:
    """Everything that accepting a job needs; made once per process."""

    settings: Settings
    store: JobStore
    files: ResultFiles
    queue: JobQueue
    shelf: CardShelf

    @classmethod
    def open(cls, settings: Settings) -> Desk:
        """Connect lazily to the store, the files and the broker."""
        shelf = CardShelf(settings.weights_folders)
        return cls(
            settings, JobStore.connect(settings), ResultFiles.connect(settings), JobQueue(settings), shelf
        )

    def plan(
        self,
        request: JobRequest,
        capability: str,
        *,
        card: Card | None,
        owner: str,
        idempotency_key: str | None = None,
    ) -> tuple[NewJob, PreparedInput | None]:
        """Check a request against the model and the limits, and cut it into shards, without storing anything.

        This is also `?dry_run=true`: the job's `request`, `cost`, `queue` and `shards` are the answer.
        Raises Validation, TooLarge, BadStructure, ModelUnavailable, NotFound and NotReady.
        """
        settings = self.settings
        if card is not None:
            card.require_available()
            request.check_model(card, settings)
        request.check_shelf(self.shelf, settings.plugins)
        given = None if request.input is None else self._input(request.input, request.reads, owner)
        items = request.item_count() if given is None else len(given.spans)
        if items > settings.max_molecules:
            raise TooLarge(
                f"the job asks for {items} molecules; this server accepts {settings.max_molecules} per job"
            )
        cost = request.cost(items)
        if cost.evaluations > settings.max_job_evaluations:
            raise TooLarge(
                f"the job takes {cost.evaluations} network evaluations; this server accepts "
                f"{settings.max_job_evaluations} per job: ask for fewer molecules or steps"
            )
        # 53 bits, because JavaScript and spreadsheets round larger numbers
        seed = request.seed if request.seed is not None else secrets.randbits(53)

        body = request.model_dump(mode="json", exclude={"molecules"})
        job = NewJob(
            id=new_id(),
            family=model_free_family(capability) if card is None else card.family,
            model=None if card is None else card.id,
            capability=capability,
            queue=queue_of(request, cost, settings),
            owner=owner,
            labels=dict(request.labels),
            request=body | {"seed": seed},
            request_hash=_request_hash(body, given, card, capability),
            seed=seed,
            deadline_seconds=request.deadline_seconds,
            cost=cost,
            shards=_cut(items, settings.shard_size) if given is None else given.shards(settings.shard_size),
            input=None if given is None else given.file,
            weights_sha256=card.weights.sha256 if card is not None and card.weights else None,
            idempotency_key=idempotency_key,
        )
        return job, given

    def submit(
        self,
        request: JobRequest,
        capability: str,
        *,
        card: Card | None = None,
        owner: str = "local",
        idempotency_key: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """Accept a request: its record and input are stored before this returns. False: it was known already.

        Raises what `plan` raises, and QueueFull, LimitExceeded, IdempotencyConflict and StoreUnavailable.
        """
        job, given = self.plan(request, capability, card=card, owner=owner, idempotency_key=idempotency_key)
        if given is not None and job.input is not None:
            self.files.write_bytes(job.id, job.input.name, given.data)
        created = False
        try:
            record, created = self.store.create(job)
        finally:
            if given is not None and not created:
                self.files.delete(job.id)
        if created:
            self.queue.send(job.id, [str(unit) for unit in range(len(job.shards))], job.queue)
        return record, created

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop and return it as it is then; an ended job stays as it is. Raises NotFound."""
        if self.store.request_cancel(job_id) == FINAL:
            self.queue.send(job_id, [FINAL], self.store.get(job_id).queue)
        return self.store.get(job_id)

    def delete(self, job_id: str) -> bool:
        """Remove a job with its files at once, running or not; False: there was none."""
        known = self.store.delete(job_id)
        if known:
            self.files.delete(job_id)
        return known

    def _input(self, molecules: Molecules, reads: Sequence[str], owner: str) -> PreparedInput:
        if molecules.job is None:
            return prepare(molecules, self.settings)
        source = self.store.get(molecules.job, owner=owner)
        if source.status is not JobStatus.SUCCEEDED:
            raise NotReady(
                f"job {source.id} is {source.status}; its molecules can be used when it has succeeded"
            )
        sizes = {file.name: file.bytes for file in source.files}
        for kind in reads:
            name = f"molecules.{kind}"
            if sizes.get(name):
                form = "smiles" if kind == "smi" else kind
                return prepare_bytes(self.files.read(source.id, source.path(name)), form, self.settings)
        raise Validation(f"job {source.id} ({source.capability}) has no molecules")


def queue_of(request: JobRequest, cost: Cost, settings: Settings) -> str:
    """The queue for a request: the family's, the one asked for, or by size."""
    if request.default_queue is not None:
        return request.default_queue
    if request.priority is not None:
        return request.priority
    return "interactive" if cost.molecules <= settings.shard_size else "batch"


def _cut(items: int, size: int) -> tuple[ShardPlan, ...]:
    return tuple(ShardPlan(start=start, count=min(size, items - start)) for start in range(0, items, size))


def _request_hash(
    body: dict[str, object], given: PreparedInput | None, card: Card | None, capability: str
) -> str:
    """Equal for equal requests: what an idempotency key is compared by."""
    parts = [body, capability, card.id if card else None, given.file.sha256 if given else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
