"""The client for ordinary programs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from service.client import calls
from service.client.calls import Call
from service.client.errors import JobFailedError, ServiceError, UnreachableError, WaitTimeoutError
from service.client.stream import EventReader, JobEvent, updated
from service.documents import Estimate, Job, JobList, ModelList, ModelSummary, Molecule, MoleculeList
from workers.records import JobStatus

_POLL_SECONDS = 1.0


class Equimol:
    """A service, by its address and key (by default EQUIMOL_URL and EQUIMOL_API_KEY, else this machine's).

    >>> service = Equimol("http://127.0.0.1:8000")  # doctest: +SKIP
    >>> service.sample("edm-qm9", n_molecules=16).wait().save("molecules.sdf")  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = (url or os.environ.get(calls.URL_VARIABLE) or calls.DEFAULT_URL).rstrip("/")
        self.retries = retries
        token = key or os.environ.get(calls.KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Equimol:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()

    # --- jobs ---------------------------------------------------------------------------------------------

    def sample(self, model: str, **parameters: Any) -> JobHandle:
        """Start drawing molecules from a model."""
        return self.submit(f"/v1/models/{model}/sample", **parameters)

    def score(self, model: str, molecules: Any, **parameters: Any) -> JobHandle:
        """Start computing log-likelihoods; `molecules` is a file's path, a job, SMILES or structures."""
        return self.submit(f"/v1/models/{model}/score", molecules=molecules, **parameters)

    def run(self, model: str, capability: str, **parameters: Any) -> JobHandle:
        """Start any capability of a model, such as predict; `parameters` are the request's fields."""
        return self.submit(f"/v1/models/{model}/{capability}", **parameters)

    def convert(self, molecules: Any, **parameters: Any) -> JobHandle:
        """Start converting molecules; `to` is sdf, xyz or smiles."""
        return self.submit("/v1/convert", molecules=molecules, **parameters)

    def validate(self, molecules: Any, **parameters: Any) -> JobHandle:
        """Start checking molecules."""
        return self.submit("/v1/validate", molecules=molecules, **parameters)

    def submit(self, path: str, *, idempotency_key: str | None = None, **parameters: Any) -> JobHandle:
        """Start any job by its address."""
        response = self.send(calls.submit(path, parameters, idempotency_key=idempotency_key))
        return JobHandle(self, Job.model_validate_json(response.content))

    def estimate(self, path: str, **parameters: Any) -> Estimate:
        """What a request would become and cost, without starting it."""
        return Estimate.model_validate_json(self.send(calls.submit(path, parameters, dry_run=True)).content)

    def job(self, job_id: str) -> JobHandle:
        """A job by its id."""
        return JobHandle(self, self._job(job_id))

    def jobs(self, *, limit: int | None = None, **filters: Any) -> Iterator[Job]:
        """Jobs, newest first; filters are status, model, capability and label ("name:value")."""
        call = Call("GET", "/v1/jobs", query={**filters, "limit": min(limit or 50, 200)})
        cursor: str | None = None
        count = 0
        while True:
            page = JobList.model_validate_json(self.send(calls.with_cursor(call, cursor)).content)
            for job in page.items:
                yield job
                count += 1
                if count == limit:
                    return
            cursor = page.next_cursor
            if cursor is None:
                return

    # --- models -------------------------------------------------------------------------------------------

    def models(self) -> list[ModelSummary]:
        """The models of the service."""
        return ModelList.model_validate_json(self.send(Call("GET", "/v1/models")).content).items

    def model(self, model: str) -> dict[str, Any]:
        """A model's whole card."""
        card: dict[str, Any] = self.send(Call("GET", f"/v1/models/{model}")).json()
        return card

    # --- transport ----------------------------------------------------------------------------------------

    def send(self, call: Call) -> httpx.Response:
        """Send a request, again after a passing failure. Raises UnreachableError and ServiceError."""
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            response: httpx.Response | None = None
            try:
                response = self.http.send(call.build(self.http))
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise UnreachableError(f"no service answers at {self.url} ({error})") from error
            if response is not None and (last or response.status_code not in calls.RETRIED_STATUSES):
                return calls.check(response)
            time.sleep(calls.delay(attempt, response))
        raise UnreachableError(f"no service answers at {self.url}")

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx.Response]:
        """A response whose body is read piece by piece. Raises ServiceError."""
        response = self.http.send(call.build(self.http), stream=True)
        try:
            if not response.is_success:
                response.read()
            yield calls.check(response)
        finally:
            response.close()

    def _job(self, job_id: str) -> Job:
        return Job.model_validate_json(self.send(Call("GET", calls.job_path(job_id))).content)


class JobHandle:
    """A job and what can be done with it; `document` is what was last heard of it."""

    def __init__(self, client: Equimol, document: Job) -> None:
        self.client = client
        self.document = document

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.document.id

    @property
    def status(self) -> JobStatus:
        """The status as last heard of."""
        return self.document.status

    def refresh(self) -> JobHandle:
        """Ask for the job again."""
        self.document = self.client._job(self.id)
        return self

    def wait(
        self, timeout: float | None = None, *, on_change: Callable[[Job], object] | None = None
    ) -> JobHandle:
        """Wait until the job has ended; `on_change` hears of every change.

        Raises JobFailedError when it did not succeed and WaitTimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with closing(self._follow(deadline)) as changes:
            for document in changes:
                if on_change is not None:
                    on_change(document)
                if not document.ended and deadline is not None and time.monotonic() > deadline:
                    raise WaitTimeoutError(self.id, timeout or 0.0)
        if self.status is not JobStatus.SUCCEEDED:
            raise JobFailedError(self.document)
        return self

    def events(
        self, after: str = "0", *, heartbeat: bool = False, silence: float | None = None
    ) -> Generator[JobEvent | None]:
        """The job's events as they come; with `heartbeat` also None while nothing happens.

        Raises httpx.TransportError when the connection breaks, or is silent for so many seconds: read on after
        the last event's id.
        """
        headers = {"Last-Event-ID": after, "Accept": "text/event-stream"}
        reader = EventReader()
        with self.client.stream(
            Call("GET", calls.job_path(self.id, "events"), headers=headers, silence=silence)
        ) as response:
            for line in response.iter_lines():
                event = reader.feed(line)
                if event is not None or (heartbeat and line.startswith(":")):
                    yield event

    def _follow(self, deadline: float | None) -> Generator[Job]:
        """The job after every change until it has ended: by events, else by polling."""
        last = "0"
        while not self.document.ended:
            try:
                with closing(self.events(last, heartbeat=True, silence=calls.remaining(deadline))) as events:
                    for event in events:
                        if event is not None:
                            last = event.id
                            self.document = updated(self.document, event)
                        yield self.document
                        if self.document.ended:
                            break
            except (httpx.TransportError, ServiceError):
                if deadline is None or time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
            self.refresh()
            yield self.document
        self.refresh()
        yield self.document

    def cancel(self) -> JobHandle:
        """Stop the job; finished molecules are kept."""
        response = self.client.send(Call("POST", calls.job_path(self.id, "cancel")))
        self.document = Job.model_validate_json(response.content)
        return self

    def delete(self) -> None:
        """Remove the job and its files."""
        self.client.send(Call("DELETE", calls.job_path(self.id)))

    def molecules(self, **filters: Any) -> Iterator[Molecule]:
        """The molecules finished so far, in order; filters as in the API (valid=True, connected=True)."""
        call = Call("GET", calls.job_path(self.id, "molecules"), query={"limit": 200, **filters})
        cursor: str | None = None
        while True:
            page = MoleculeList.model_validate_json(self.client.send(calls.with_cursor(call, cursor)).content)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def text(self, name: str) -> str:
        """One of the job's files as text, such as "molecules.xyz"."""
        return self.client.send(Call("GET", calls.job_path(self.id, "files", name))).text

    def manifest(self) -> dict[str, Any]:
        """What is needed to make the same result again."""
        document: dict[str, Any] = self.client.send(Call("GET", calls.job_path(self.id, "manifest"))).json()
        return document

    def save(self, path: str | os.PathLike[str], name: str | None = None) -> Path:
        """Download a file: the one called `name`, or the molecules in the format of the path's suffix."""
        target = Path(path)
        source = name or calls.file_for(target, [file.name for file in self.document.files])
        part = target.with_name(f".{target.name}.part")
        try:
            with (
                self.client.stream(Call("GET", calls.job_path(self.id, "files", source))) as response,
                part.open("wb") as file,
            ):
                for piece in response.iter_bytes():
                    file.write(piece)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target
