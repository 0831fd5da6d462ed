"""Who calls: the API key of a request, what it may do, and whose jobs it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.context import Context, ContextDep
from service.keys import Scope
from workers.problems import Forbidden, Unauthorized
from workers.records import JobRecord

ANYONE = "anyone"
"""The owner of all jobs of a service that has no keys."""

_bearer = HTTPBearer(
    auto_error=False, description="An API key from `equimol keys create`. A service without keys needs none."
)


@dataclass(frozen=True)
class Caller:
    """The one who asks."""

    owner: str
    scopes: frozenset[Scope]

    @property
    def admin(self) -> bool:
        """Whether the caller sees and changes every job."""
        return "admin" in self.scopes

    @property
    def visible_owner(self) -> str | None:
        """The owner whose jobs the caller sees; None: everybody's."""
        return None if self.admin else self.owner


def identify(context: Context, token: str | None) -> Caller:
    """The caller behind a token; raises Unauthorized when a key is needed and this is none."""
    if not context.keys.required:
        return Caller(ANYONE, frozenset({"submit", "read", "admin"}))
    if not token:
        raise Unauthorized("this service needs an API key: send the header `Authorization: Bearer KEY`")
    key = context.keys.find(token)
    if key is None:
        raise Unauthorized("this API key is not known here, or it was revoked")
    return Caller(key.id, frozenset(key.scopes))


async def _caller(
    context: ContextDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    return identify(context, credentials.credentials if credentials else None)


def _require(caller: Caller, scope: Scope) -> Caller:
    if scope not in caller.scopes and not caller.admin:
        raise Forbidden(f"this API key lacks the scope {scope!r}; it has {', '.join(sorted(caller.scopes))}")
    return caller


async def _reader(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    return _require(caller, "read")


async def _submitter(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    return _require(caller, "submit")


AnyCaller = Annotated[Caller, Depends(_caller)]
Reader = Annotated[Caller, Depends(_reader)]
Submitter = Annotated[Caller, Depends(_submitter)]


def _job_to_read(job_id: str, context: ContextDep, caller: Reader) -> JobRecord:
    return context.store.get(job_id, owner=caller.visible_owner)


def _job_to_change(job_id: str, context: ContextDep, caller: Submitter) -> JobRecord:
    return context.store.get(job_id, owner=caller.visible_owner)


JobToRead = Annotated[JobRecord, Depends(_job_to_read)]
JobToChange = Annotated[JobRecord, Depends(_job_to_change)]
