"""The molecules of a job: a table that grows while the job runs, and every molecule by itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.access import JobToRead
from service.context import ContextDep
from service.documents import Molecule, MoleculeList
from service.routes.jobs import add_next_link
from workers.records import JobRecord
from workers.results import RowFilter, TextKind, public

router = APIRouter(prefix="/v1/jobs/{job_id}/molecules", tags=["Results"])

_TYPES: dict[TextKind, str] = {
    "sdf": "chemical/x-mdl-sdfile",
    "xyz": "chemical/x-xyz",
    "svg": "image/svg+xml",
    "trajectory": "chemical/x-xyz",
}

Index = Annotated[int, Path(ge=0, lt=2**31, description="The molecule's index, from 0.")]


class Format(StrEnum):
    """The endings of one molecule's address."""

    SDF = "sdf"
    XYZ = "xyz"
    SVG = "svg"


def _filter(
    valid: bool | None = None,
    connected: bool | None = None,
    stable: bool | None = None,
    accepted: Annotated[bool | None, Query(description="In the job's files; known at its end.")] = None,
    reason: Annotated[str | None, Query(description="Failed with this reason's code.", max_length=64)] = None,
    min_atoms: Annotated[int | None, Query(ge=0)] = None,
    max_atoms: Annotated[int | None, Query(ge=0)] = None,
) -> RowFilter:
    return RowFilter(valid, connected, stable, accepted, reason, min_atoms, max_atoms)


@router.get("", summary="List a job's molecules")
def list_molecules(
    request: Request,
    response: Response,
    job: JobToRead,
    context: ContextDep,
    where: Annotated[RowFilter, Depends(_filter)],
    sort: Annotated[str, Query(description="A field, with `-` before it for falling order.")] = "index",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> MoleculeList:
    """What is finished so far: SMILES, InChIKey, size, validity with reasons, likelihood, seed.

    The table is complete when the job has ended.
    """
    page = context.results.page(job, where=where, sort=sort, cursor=cursor, limit=limit)
    add_next_link(request, response, page.cursor)
    return MoleculeList(items=[_molecule(job, row) for row in page.rows], next_cursor=page.cursor)


@router.get("/{index:int}", summary="Show one molecule")
def show_molecule(index: Index, job: JobToRead, context: ContextDep) -> Molecule:
    """One row of the table."""
    return _molecule(job, public(context.results.row(job, index)))


@router.get(
    "/{index:int}.{format}",
    summary="One molecule as SDF, XYZ or drawing",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in _TYPES.values()}}},
)
def molecule_file(index: Index, format: Format, job: JobToRead, context: ContextDep) -> Response:
    """The molecule as a file; the drawing is an SVG without scripts, of at most a few kilobytes."""
    return _text(context, job, index, format.value)


@router.get("/{index:int}/trajectory.xyz", summary="How a molecule came about", response_class=Response)
def trajectory(index: Index, job: JobToRead, context: ContextDep) -> Response:
    """The frames of its generation as one XYZ file; only for jobs with `keep_trajectory`."""
    return _text(context, job, index, "trajectory")


def _text(context: ContextDep, job: JobRecord, index: int, kind: TextKind) -> Response:
    text = context.results.text(job, index, kind)
    ending = "xyz" if kind == "trajectory" else kind
    name = f"{job.id}-{index}{'-trajectory' if kind == 'trajectory' else ''}.{ending}"
    disposition = "inline" if kind == "svg" else "attachment"
    headers = {
        "Content-Disposition": f'{disposition}; filename="{name}"',
        # A finished molecule never changes under its address.
        "Cache-Control": "private, max-age=86400, immutable",
    }
    return Response(text, media_type=_TYPES[kind], headers=headers)


def _molecule(job: JobRecord, row: dict[str, Any]) -> Molecule:
    path = f"/v1/jobs/{job.id}/molecules/{row['index']}"
    texts = row.pop("texts")
    links = {"self": path} | {kind: f"{path}.{kind}" for kind in texts if kind != "trajectory"}
    if "trajectory" in texts:
        links["trajectory"] = f"{path}/trajectory.xyz"
    return Molecule(**row, links=links)
