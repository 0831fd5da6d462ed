"""The client for asyncio programs: the same verbs as in `service.client.sync`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
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


class AsyncEquimol:
    """A service, by its address and key (by default EQUIMOL_URL and EQUIMOL_API_KEY, else this machine's)."""

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = (url or os.environ.get(calls.URL_VARIABLE) or calls.DEFAULT_URL).rstrip("/")
        self.retries = retries
        token = key or os.environ.get(calls.KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> AsyncEquimol:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self.http.aclose()

    # --- jobs ---------------------------------------------------------------------------------------------

    async def sample(self, model: str, **parameters: Any) -> AsyncJobHandle:
        """Start drawing molecules from a model."""
        return await self.submit(f"/v1/models/{model}/sample", **parameters)

    async def score(self, model: str, molecules: Any, **parameters: Any) -> AsyncJobHandle:
        """Start computing log-likelihoods; `molecules` is a file's path, a job, SMILES or structures."""
        return await self.submit(f"/v1/models/{model}/score", molecules=molecules, **parameters)

    async def run(self, model: str, capability: str, **parameters: Any) -> AsyncJobHandle:
        """Start any capability of a model, such as predict; `parameters` are the request's fields."""
        return await self.submit(f"/v1/models/{model}/{capability}", **parameters)

    async def convert(self, molecules: Any, **parameters: Any) -> AsyncJobHandle:
        """Start converting molecules; `to` is sdf, xyz or smiles."""
        return await self.submit("/v1/convert", molecules=molecules, **parameters)

    async def validate(self, molecules: Any, **parameters: Any) -> AsyncJobHandle:
        """Start checking molecules."""
        return await self.submit("/v1/validate", molecules=molecules, **parameters)

    async def submit(
        self, path: str, *, idempotency_key: str | None = None, **parameters: Any
    ) -> AsyncJobHandle:
        """Start any job by its address."""
        response = await self.send(calls.submit(path, parameters, idempotency_key=idempotency_key))
        return AsyncJobHandle(self, Job.model_validate_json(response.content))

    async def estimate(self, path: str, **parameters: Any) -> Estimate:
        """What a request would become and cost, without starting it."""
        return Estimate.model_validate_json(
            (await self.send(calls.submit(path, parameters, dry_run=True))).content
        )

    async def job(self, job_id: str) -> AsyncJobHandle:
        """A job by its id."""
        return AsyncJobHandle(self, await self._job(job_id))

    async def jobs(self, *, limit: int | None = None, **filters: Any) -> AsyncIterator[Job]:
        """Jobs, newest first; filters are status, model, capability and label ("name:value")."""
        call = Call("GET", "/v1/jobs", query={**filters, "limit": min(limit or 50, 200)})
        cursor: str | None = None
        count = 0
        while True:
            page = JobList.model_validate_json((await self.send(calls.with_cursor(call, cursor))).content)
            for job in page.items:
                yield job
                count += 1
                if count == limit:
                    return
            cursor = page.next_cursor
            if cursor is None:
                return

    # --- models -------------------------------------------------------------------------------------------

    async def models(self) -> list[ModelSummary]:
        """The models of the service."""
        return ModelList.model_validate_json((await self.send(Call("GET", "/v1/models"))).content).items

    async def model(self, model: str) -> dict[str, Any]:
        """A model's whole card."""
        card: dict[str, Any] = (await self.send(Call("GET", f"/v1/models/{model}"))).json()
        return card

    # --- transport ----------------------------------------------------------------------------------------

    async def send(self, call: Call) -> httpx.Response:
        """Send a request, again after a passing failure. Raises UnreachableError and ServiceError."""
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            response: httpx.Response | None = None
            try:
                response = await self.http.send(call.build(self.http))
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise UnreachableError(f"no service answers at {self.url} ({error})") from error
            if response is not None and (last or response.status_code not in calls.RETRIED_STATUSES):
                return calls.check(response)
            await asyncio.sleep(calls.delay(attempt, response))
        raise UnreachableError(f"no service answers at {self.url}")

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[httpx.Response]:
        """A response whose body is read piece by piece. Raises ServiceError."""
        response = await self.http.send(call.build(self.http), stream=True)
        try:
            if not response.is_success:
                await response.aread()
            yield calls.check(response)
        finally:
            await response.aclose()

    async def _job(self, job_id: str) -> Job:
        return Job.model_validate_json((await self.send(Call("GET", calls.job_path(job_id)))).content)


class AsyncJobHandle:
    """A job and what can be done with it; `document` is what was last heard of it."""

    def __init__(self, client: AsyncEquimol, document: Job) -> None:
        self.client = client
        self.document = document

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.document.id

    @property
    def status(self) -> JobStatus:
        """The status as last heard of."""
        return self.document.status

    async def refresh(self) -> AsyncJobHandle:
        """Ask for the job again."""
        self.document = await self.client._job(self.id)
        return self

    async def wait(
        self, timeout: float | None = None, *, on_change: Callable[[Job], object] | None = None
    ) -> AsyncJobHandle:
        """Wait until the job has ended; `on_change` hears of every change.

        Raises JobFailedError when it did not succeed and WaitTimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        async with aclosing(self._follow(deadline)) as changes:
            async for document in changes:
                if on_change is not None:
                    on_change(document)
                if not document.ended and deadline is not None and time.monotonic() > deadline:
                    raise WaitTimeoutError(self.id, timeout or 0.0)
        if self.status is not JobStatus.SUCCEEDED:
            raise JobFailedError(self.document)
        return self

    async def events(
        self, after: str = "0", *, heartbeat: bool = False, silence: float | None = None
    ) -> AsyncGenerator[JobEvent | None]:
        """The job's events as they come; with `heartbeat` also None while nothing happens.

        Raises httpx.TransportError when the connection breaks, or is silent for so many seconds: read on after
        the last event's id.
        """
        headers = {"Last-Event-ID": after, "Accept": "text/event-stream"}
        reader = EventReader()
        async with self.client.stream(
            Call("GET", calls.job_path(self.id, "events"), headers=headers, silence=silence)
        ) as response:
            async for line in response.aiter_lines():
                event = reader.feed(line)
                if event is not None or (heartbeat and line.startswith(":")):
                    yield event

    async def _follow(self, deadline: float | None) -> AsyncGenerator[Job]:
        """The job after every change until it has ended: by events, else by polling."""
        last = "0"
        while not self.document.ended:
            try:
                async with aclosing(
                    self.events(last, heartbeat=True, silence=calls.remaining(deadline))
                ) as events:
                    async for event in events:
                        if event is not None:
                            last = event.id
                            self.document = updated(self.document, event)
                        yield self.document
                        if self.document.ended:
                            break
            except (httpx.TransportError, ServiceError):
                if deadline is None or time.monotonic() < deadline:
                    await asyncio.sleep(_POLL_SECONDS)
            await self.refresh()
            yield self.document
        await self.refresh()
        yield self.document

    async def cancel(self) -> AsyncJobHandle:
        """Stop the job; finished molecules are kept."""
        response = await self.client.send(Call("POST", calls.job_path(self.id, "cancel")))
        self.document = Job.model_validate_json(response.content)
        return self

    async def delete(self) -> None:
        """Remove the job and its files."""
        await self.client.send(Call("DELETE", calls.job_path(self.id)))

    async def molecules(self, **filters: Any) -> AsyncIterator[Molecule]:
        """The molecules finished so far, in order; filters as in the API (valid=True, connected=True)."""
        call = Call("GET", calls.job_path(self.id, "molecules"), query={"limit": 200, **filters})
        cursor: str | None = None
        while True:
            page = MoleculeList.model_validate_json(
                (await self.client.send(calls.with_cursor(call, cursor))).content
            )
            for molecule in page.items:
                yield molecule
            cursor = page.next_cursor
            if cursor is None:
                return

    async def text(self, name: str) -> str:
        """One of the job's files as text, such as "molecules.xyz"."""
        return (await self.client.send(Call("GET", calls.job_path(self.id, "files", name)))).text

    async def manifest(self) -> dict[str, Any]:
        """What is needed to make the same result again."""
        document: dict[str, Any] = (
            await self.client.send(Call("GET", calls.job_path(self.id, "manifest")))
        ).json()
        return document

    async def save(self, path: str | os.PathLike[str], name: str | None = None) -> Path:
        """Download a file: the one called `name`, or the molecules in the format of the path's suffix."""
        target = Path(path)
        source = name or calls.file_for(target, [file.name for file in self.document.files])
        part = target.with_name(f".{target.name}.part")
        try:
            async with self.client.stream(Call("GET", calls.job_path(self.id, "files", source))) as response:
                with part.open("wb") as file:
                    async for piece in response.aiter_bytes():
                        file.write(piece)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target
