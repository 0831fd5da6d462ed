"""What can go wrong on the client's side.

ClientError
    UnreachableError      nothing answers at that address
    ServiceError          the service answered with a problem document
    JobFailedError        the job ended, but did not succeed
    WaitTimeoutError      the job has not ended in the time given
"""

from __future__ import annotations

from typing import Any

from service.documents import Job, Problem


class ClientError(Exception):
    """The base of all errors of the client."""


class UnreachableError(ClientError):
    """Nothing answers at that address, also after the retries."""


class ServiceError(ClientError):
    """The service answered with a problem document; `problem` is it, `code` the end of its type."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.status = problem.status
        self.code = problem.type.rsplit("/", 1)[-1]
        super().__init__(_words(problem))


class JobFailedError(ClientError):
    """The job failed, expired or was canceled; `job` has its problem and what was finished before."""

    def __init__(self, job: Job) -> None:
        self.job = job
        detail = (job.problem or {}).get("detail", "no reason was given")
        super().__init__(f"job {job.id} {job.status.value}: {detail}")


class WaitTimeoutError(ClientError):
    """The job has not ended in the time given; it goes on."""

    def __init__(self, job_id: str, seconds: float) -> None:
        self.job_id = job_id
        super().__init__(
            f"job {job_id} has not ended within {seconds:g} s; it goes on, so wait again or cancel it"
        )


def _words(problem: Problem) -> str:
    lines = [problem.detail]
    errors: list[dict[str, Any]] = problem.errors or []
    if len(errors) > 1:
        lines += [
            f"  {each.get('pointer') or each.get('parameter', '')}: {each.get('detail', '')}"
            for each in errors
        ]
    return "\n".join(lines)
