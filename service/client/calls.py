"""The requests that the client sends and how it reads the answers, without any input or output of its own."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from service.client.errors import ServiceError
from service.documents import Job, Problem

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "EQUIMOL_URL"
KEY_VARIABLE = "EQUIMOL_API_KEY"

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
_SUFFIXES = {".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".xyz": "xyz", ".smi": "smiles", ".smiles": "smiles"}
_LONGEST_DELAY = 20.0


@dataclass(frozen=True)
class Call:
    """One HTTP request to be."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0.0  # seconds that the service may take on purpose
    silence: float | None = (
        None  # seconds without a byte after which to give up; None: the client's own limit
    )

    def build(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request for one of httpx's clients."""
        timeout = client.timeout
        read = self.silence or (None if timeout.read is None else timeout.read + self.patience)
        limits = httpx.Timeout(connect=timeout.connect, write=timeout.write, pool=timeout.pool, read=read)
        return client.build_request(
            self.method,
            self.path,
            params={name: value for name, value in self.query.items() if value is not None},
            json=self.body,
            headers=dict(self.headers),
            timeout=limits,
        )


def submit(
    path: str,
    parameters: Mapping[str, Any],
    *,
    wait: float = 0.0,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Call:
    """A job request. It always carries an idempotency key, so that sending it again is safe."""
    body = dict(parameters)
    if "molecules" in body:
        body["molecules"] = as_molecules(body["molecules"])
    headers = {} if dry_run else {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
    if wait:
        headers["Prefer"] = f"wait={wait:.0f}"
    query = {"dry_run": "true"} if dry_run else {}
    return Call("POST", path, query=query, body=body, headers=headers, patience=wait)


def job_path(job_id: str, *parts: str) -> str:
    """The address of a job or of something under it."""
    return "/".join((f"/v1/jobs/{job_id}", *parts))


def with_cursor(call: Call, cursor: str | None) -> Call:
    """The same call for another page."""
    return replace(call, query={**call.query, "cursor": cursor})


def as_molecules(given: Any) -> Mapping[str, Any]:
    """The `molecules` object for what a user has: a file's path, a job, one or several SMILES, or structures.

    Raises ValueError for a file of unknown format and TypeError for anything else.
    """
    if isinstance(given, Mapping):
        return given
    if isinstance(given, Job):
        return {"job": given.id}
    if isinstance(given, os.PathLike) or (isinstance(given, str) and Path(given).suffix.lower() in _SUFFIXES):
        return read_file(Path(given))
    if isinstance(given, str):
        return {"smiles": [given]}
    if isinstance(given, Sequence) and given and all(isinstance(each, str) for each in given):
        return {"smiles": list(given)}
    if isinstance(given, Sequence) and given and all(isinstance(each, Mapping) for each in given):
        return {"structures": list(given)}
    job_id = getattr(given, "id", None)
    if isinstance(job_id, str):
        return {"job": job_id}
    wanted = "a path, a job, SMILES, or structures with numbers and positions"
    raise TypeError(f"molecules were given as {type(given).__name__}; wanted {wanted}")


def read_file(path: Path) -> Mapping[str, Any]:
    """The `molecules` object for a molecule file. Raises ValueError for an unknown suffix."""
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path} has no known suffix; wanted one of {', '.join(_SUFFIXES)}")
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return {kind: text.splitlines() if kind == "smiles" else text}


def check(response: httpx.Response) -> httpx.Response:
    """The response, or ServiceError when it is a failure; its body must have been read."""
    if response.is_success:
        return response
    try:
        problem = Problem.model_validate_json(response.content)
    except ValueError:
        text = response.text[:200] or response.reason_phrase
        status = response.status_code
        problem = Problem(type="about:blank", title=response.reason_phrase, status=status, detail=text)
    raise ServiceError(problem)


def delay(attempt: int, response: httpx.Response | None) -> float:
    """Seconds before the next try: what the service asks for, else longer each time, and a little random."""
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if asked.isdigit():
        return min(float(asked), _LONGEST_DELAY)
    longest: float = min(0.2 * 2**attempt, _LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # not for secrets


def remaining(deadline: float | None) -> float | None:
    """Seconds until a time of time.monotonic(), at least a moment; None: no such time."""
    return None if deadline is None else max(0.05, deadline - time.monotonic())


def file_for(target: Path, names: Sequence[str]) -> str:
    """The file of a job that fits a path: the one of that name, else the molecules in that format.

    Raises ValueError when the job has none.
    """
    if target.name in names:
        return target.name
    fitting = [name for name in names if Path(name).suffix == target.suffix.lower()]
    preferred = [name for name in fitting if name.startswith("molecules")] or fitting
    if not preferred:
        raise ValueError(f"the job has no file for {target.name}; it has {', '.join(names) or 'none yet'}")
    return preferred[0]
