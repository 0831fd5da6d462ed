"""One typed route per model and capability, made from the cards and the request schemas."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.access import Caller, Submitter
from service.context import Context, ContextDep
from service.documents import Estimate, Job
from service.examples import body_description
from service.offers import Offer
from service.submission import read_request
from service.validation import parse_model
from service.wire import estimate_document, job_document, job_path
from workers.connection import store_errors
from workers.events import follow
from workers.families import request_type
from workers.problems import StoreUnavailable
from workers.records import JobRecord

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")

DryRun = Annotated[
    bool, Query(description="Do not start anything; answer with the complete request and its cost.")
]
Prefer = Annotated[
    str | None,
    Header(description="`wait=N` holds the answer up to N seconds for the job to end, and then is `200`."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of yours. The same key and request give the same job, however often sent.",
    ),
]


def make_router(context: Context) -> APIRouter:
    """All routes that start jobs."""
    router = APIRouter()
    for offer in context.offers:
        _add(router, offer)

    @router.post("/v1/models/{model}/{capability}", include_in_schema=False)
    async def unknown(model: str, capability: str, _: Submitter) -> None:
        """Nothing has matched: say which models and capabilities there are."""
        request_type(context.shelf.get(model), capability, context.settings.plugins)

    return router


def _add(router: APIRouter, offer: Offer) -> None:
    name = offer.capability if offer.card is None else f"{offer.capability}_{offer.card.id}"
    router.add_api_route(
        offer.path,
        _endpoint(offer),
        methods=["POST"],
        status_code=202,
        response_model=Job,
        name=name,
        operation_id=re.sub(r"\W", "_", name),
        summary=f"{offer.capability.capitalize()}: {offer.subject}",
        description=(offer.kind.__doc__ or "").strip(),
        tags=["Models" if offer.card else "Chemistry"],
        openapi_extra={"requestBody": body_description(offer)},
        responses={
            200: {
                "description": "The job has ended within `Prefer: wait=N`, or a dry run.",
                "model": Job | Estimate,
            },
            202: {
                "description": "The job is stored and will be done.",
                "headers": {"Location": {"description": "The job's address.", "schema": {"type": "string"}}},
            },
        },
    )


def _endpoint(offer: Offer) -> Callable[..., Awaitable[Response]]:
    async def submit(
        request: Request,
        context: ContextDep,
        caller: Submitter,
        dry_run: DryRun = False,
        prefer: Prefer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        value = await read_request(request, takes_molecules=offer.takes_molecules)
        if dry_run:
            return await run_in_threadpool(_estimate, context, caller, offer, value)
        record, created = await run_in_threadpool(_accept, context, caller, offer, value, idempotency_key)
        headers = {} if created else {"Idempotent-Replayed": "true"}
        wait = _wait_seconds(prefer, context.settings.max_wait_seconds)
        if wait:
            headers["Preference-Applied"] = f"wait={wait:g}"
        if wait and not record.ended:
            record = await _until_ended(context, record, wait)
        return _answer(record, headers)

    return submit


def _accept(
    context: Context, caller: Caller, offer: Offer, value: dict[str, Any], idempotency_key: str | None
) -> tuple[JobRecord, bool]:
    context.rates.spend(caller.owner)
    request = parse_model(offer.kind, value)
    return context.desk.submit(
        request, offer.capability, card=offer.card, owner=caller.owner, idempotency_key=idempotency_key
    )


def _estimate(context: Context, caller: Caller, offer: Offer, value: dict[str, Any]) -> Response:
    request = parse_model(offer.kind, value)
    plan, _ = context.desk.plan(request, offer.capability, card=offer.card, owner=caller.owner)
    document = estimate_document(plan, seed_given=request.seed is not None)
    return Response(document.model_dump_json(), media_type="application/json")


async def _until_ended(context: Context, record: JobRecord, seconds: float) -> JobRecord:
    """The job as it is after so many seconds, or at its end; the job is accepted, so nothing here may fail."""
    with suppress(TimeoutError, StoreUnavailable), store_errors():
        async with asyncio.timeout(seconds):
            async for _ in follow(context.events, context.settings, record.id):
                pass
    return await run_in_threadpool(context.store.get, record.id)


def _answer(record: JobRecord, headers: dict[str, str]) -> Response:
    headers = headers | {"Location": job_path(record.id)}
    if not record.ended:
        headers["Retry-After"] = "1"
    return Response(
        job_document(record).model_dump_json(),
        200 if record.ended else 202,
        headers,
        media_type="application/json",
    )


def _wait_seconds(prefer: str | None, most: float) -> float:
    """The N of `Prefer: wait=N`, cut to the server's bound; others are passed over (RFC 7240)."""
    match = _WAIT.search(prefer) if prefer else None
    return min(float(match.group(1)), most) if match else 0.0
