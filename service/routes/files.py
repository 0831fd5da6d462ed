"""The files of a job: by name, in pieces, only when changed, or in the format that the client accepts."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from service.access import JobToRead
from service.context import Context, ContextDep
from service.ranges import Span, UnsatisfiableRangeError, matches, parse_range
from workers.problems import EquimolProblem, NotFound
from workers.records import JobRecord, ResultFile

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["Results"])

ARCHIVE = "all.zip"
_BY_TYPE = {
    "chemical/x-mdl-sdfile": "molecules.sdf",
    "chemical/x-xyz": "molecules.xyz",
    "chemical/x-daylight-smiles": "molecules.smi",
    "text/csv": "molecules.csv",
    "application/zip": ARCHIVE,
}
_BY_FORMAT = {"sdf": "molecules.sdf", "xyz": "molecules.xyz", "smiles": "molecules.smi"}


class NotAcceptable(EquimolProblem):
    """The result does not come in any of the formats that the Accept header names."""

    code, title, status = "not-acceptable", "No such format", 406


class RangeNotSatisfiable(EquimolProblem):
    """The Range header begins after the end of the file."""

    code, title, status = "range-not-satisfiable", "The range is outside the file", 416

    @property
    def headers(self) -> dict[str, str]:
        """The size of the file, so that the client can ask again."""
        return {"Content-Range": f"bytes */{self.extensions['size']}"}


@router.head("/files/{name}", include_in_schema=False)
@router.get("/files/{name}", summary="Download a file", response_class=Response)
def download(
    request: Request,
    name: str,
    job: JobToRead,
    context: ContextDep,
    range: Annotated[str | None, Header(description="`bytes=0-999`: a part of the file.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """`molecules.sdf`, `.xyz`, `.csv`, `.smi`, `scores.csv`, `manifest.json`, or `all.zip` with everything.

    Files are there when the job has ended; what a canceled job finished is there too.
    """
    if name == ARCHIVE:
        headers = {"Content-Disposition": f'attachment; filename="{job.id}.zip"'}
        body = context.results.archive(job)
        return StreamingResponse(
            body if request.method == "GET" else iter(()), 200, headers, "application/zip"
        )
    file = context.results.file(job, name)
    headers = _headers(file)
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        # With If-Range a part is wanted only of the very same file.
        span = parse_range(range, file.bytes) if if_range is None or if_range == headers["ETag"] else None
    except UnsatisfiableRangeError as error:
        raise RangeNotSatisfiable(f"the range asks for {error}", size=file.bytes) from error
    return _send(context, job, file, span, headers, head=request.method == "HEAD")


@router.get("/result", summary="Download the molecules in the format accepted", response_class=Response)
def result(
    request: Request,
    job: JobToRead,
    context: ContextDep,
    accept: Annotated[str, Header(description=f"One of {', '.join(_BY_TYPE)}.")] = "*/*",
) -> Response:
    """The molecules as SDF, XYZ, SMILES or CSV by the Accept header; without one as the job's own format."""
    name = choose(accept, _BY_FORMAT.get(str(job.request.get("to")), "molecules.sdf"))
    if name is None:
        raise NotAcceptable(f"{accept[:200]!r} is accepted; the result comes as {', '.join(_BY_TYPE)}")
    response = download(request, name, job, context)
    response.headers["Vary"] = "Accept"
    response.headers["Content-Location"] = f"/v1/jobs/{job.id}/files/{name}"
    return response


def choose(accept: str, default: str) -> str | None:
    """The file that an Accept header prefers; None when it takes none of ours."""
    wishes: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            wishes.append((float(weight), kind.lower()))
        except ValueError:
            continue
    for quality, kind in sorted(wishes, key=lambda wish: -wish[0]):
        if quality <= 0:
            continue
        if kind in _BY_TYPE:
            return _BY_TYPE[kind]
        if kind in ("*/*", "chemical/*"):
            return default
    return None


def _headers(file: ResultFile) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "ETag": f'"{file.sha256}"',
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "Cache-Control": "private, no-cache",
    }


def _send(
    context: Context,
    job: JobRecord,
    file: ResultFile,
    span: Span | None,
    headers: dict[str, str],
    *,
    head: bool,
) -> Response:
    whole = Span(0, file.bytes)
    part = span or whole
    headers = headers | {"Content-Length": str(part.length)}
    status = 200
    if span is not None:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.bytes}"
    if head:
        return Response(status_code=status, headers=headers, media_type=file.media_type)
    if not context.files.exists(job.id, job.path(file.name)):
        raise NotFound(f"the file {file.name} of job {job.id} is gone")
    body = context.results.stream(job, file.name, part.start, part.length)
    return StreamingResponse(body, status, headers, file.media_type)
