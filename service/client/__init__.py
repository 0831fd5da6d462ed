"""A small client for an Equimol service, in a synchronous and an asynchronous form."""

from service.client.asynchronous import AsyncEquimol, AsyncJobHandle
from service.client.errors import (
    ClientError,
    JobFailedError,
    ServiceError,
    UnreachableError,
    WaitTimeoutError,
)
from service.client.stream import JobEvent
from service.client.sync import Equimol, JobHandle
from service.documents import Estimate, Job, ModelSummary, Molecule

__all__ = [
    "AsyncEquimol",
    "AsyncJobHandle",
    "ClientError",
    "Equimol",
    "Estimate",
    "Job",
    "JobEvent",
    "JobFailedError",
    "JobHandle",
    "ModelSummary",
    "Molecule",
    "ServiceError",
    "UnreachableError",
    "WaitTimeoutError",
]
