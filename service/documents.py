"""The documents that travel over HTTP; the API writes them and the client reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workers.records import Cost, InputFile, JobStatus, Progress


class _Document(BaseModel):
    # A client must go on when a newer server tells more.
    model_config = ConfigDict(frozen=True, extra="allow")


class FileLink(_Document):
    """One file of a finished job."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    href: str


class Job(_Document):
    """A job: what was asked, how far it is, and where its results are."""

    id: str
    model: str | None
    capability: str
    status: JobStatus
    progress: Progress
    problem: dict[str, Any] | None = Field(description="Why the job did not succeed: a problem document.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    deadline: datetime | None
    expires: datetime | None = Field(description="When the job and its files are deleted.")
    seed: int = Field(description="The seed asked for or drawn; the same seed gives the same result.")
    labels: dict[str, str]
    request: dict[str, Any] = Field(description="The request with all defaults filled in.")
    input: InputFile | None
    cost: Cost
    attempts: int = Field(description="The most attempts that any part of the job needed.")
    accepted: int | None = Field(description="Molecules in the files, known when the job has ended.")
    files: list[FileLink]
    links: dict[str, str]

    @property
    def ended(self) -> bool:
        """Whether the job will not change any more."""
        return self.status.ended


class JobList(_Document):
    """One page of jobs, newest first."""

    items: list[Job]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null at the end.")


class Estimate(_Document):
    """What a request would become: the answer to `?dry_run=true`."""

    model: str | None
    capability: str
    request: dict[str, Any] = Field(description="The request with all defaults filled in.")
    cost: Cost
    shards: int
    queue: str


class Reason(_Document):
    """Why a molecule is not valid; `atoms` are indices into it."""

    code: str
    message: str
    atoms: list[int] = Field(default_factory=list)


class Molecule(_Document):
    """One row of a job's table of molecules."""

    index: int = Field(description="The candidate or input number, from 0.")
    seed: int | None = None
    smiles: str | None = None
    inchikey: str | None = None
    formula: str | None = None
    n_atoms: int | None = None
    valid: bool | None = None
    connected: bool | None = None
    reasons: list[Reason] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)


class MoleculeList(_Document):
    """One page of molecules, in order."""

    items: list[Molecule]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null at the end.")


class ModelSummary(_Document):
    """One line of the model list."""

    id: str
    family: str
    title: str
    summary: str
    capabilities: list[str]
    elements: list[str]
    size_range: tuple[int, int] | None
    available: bool
    links: dict[str, str]


class ModelList(_Document):
    """All models of this service."""

    items: list[ModelSummary]


class Version(_Document):
    """What runs here."""

    name: str
    version: str
    python: str
    libraries: dict[str, str]


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A stable address of the kind of problem; it can be opened.")
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="JSON pointers to the faults, and hints."
    )
