"""The end of a job: which molecules are accepted, and the job's files, written by streaming through the
shards.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import PurePath
from typing import Any

from workers.files import HashingWriter, ResultFiles
from workers.records import JobRecord, ResultFile, ShardRecord
from workers.schemas.base import JobRequest
from workers.shardfiles import TEXTS, read_rows

ROWS = "rows.jsonl"
PRIVATE = ("places", "shard", "passed")
"""Columns of rows that are the workers' own."""
MEDIA_TYPES = {
    ".sdf": "chemical/x-mdl-sdfile",
    ".xyz": "chemical/x-xyz",
    ".smi": "chemical/x-daylight-smiles",
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".eqm": "application/octet-stream",
}


def finished_rows(files: ResultFiles, job_id: str, shards: Iterable[ShardRecord]) -> Iterator[dict[str, Any]]:
    """The rows of all finished shards in the order of the candidates, one shard in memory at a time."""
    for shard in shards:
        if shard.status == "done":
            yield from read_rows(files, job_id, shard.folder)


def accepting(rows: Iterable[dict[str, Any]], request: JobRequest) -> Iterator[dict[str, Any]]:
    """The same rows with "accepted": passed, unique if asked for, among the first that the request wants."""
    seen: set[bytes] = set()
    count = 0
    for row in rows:
        accepted = bool(row["passed"]) and (request.accept_limit is None or count < request.accept_limit)
        if accepted and request.unique_only:
            identity = hashlib.blake2b(str(row.get("smiles")).encode(), digest_size=16).digest()
            accepted = bool(row.get("smiles")) and identity not in seen
            seen.add(identity)
        count += accepted
        yield {"index": row["index"], "accepted": accepted} | row


def more_candidates(request: JobRequest, tried: int, accepted: int) -> int:
    """How many further candidates a job needs, from its success so far; 0: it has enough or may try no more.

    Depends on finished candidates only, so that a repeated run asks for the same ones.
    """
    if request.accept_limit is None or request.candidate_limit is None:
        return 0
    missing = request.accept_limit - accepted
    if missing <= 0 or tried >= request.candidate_limit:
        return 0
    rate = max((accepted + 1) / (tried + 2), 0.02)  # a cautious estimate (Laplace's rule)
    wanted = min(int(missing / rate * 1.1) + 1, max(4 * tried, 64))
    return min(wanted, request.candidate_limit - tried)


def join(
    files: ResultFiles,
    job: JobRecord,
    folder: str,
    shards: list[ShardRecord],
    request: JobRequest,
    alive: Callable[[], None],
) -> tuple[list[ResultFile], int]:
    """Write rows.jsonl, the molecule files and the tables; returns those to download and the accepted count.

    Memory does not grow with the job. `alive` is called for every row.
    """
    with ExitStack() as stack:
        texts = {kind: f"molecules.{kind}" for kind in request.texts}
        names = [*texts.values(), *(table.name for table in request.tables)]
        names += [name for name in (request.product, request.listing) if name is not None]
        out = {name: stack.enter_context(files.write(job.id, f"{folder}/{name}")) for name in (ROWS, *names)}
        for table in request.tables:
            out[table.name].write(_csv_line(table.columns))
        accepted = 0
        copier = _Copier(files, job.id, stack)
        for row in accepting(finished_rows(files, job.id, shards), request):
            alive()
            out[ROWS].write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
            for table in request.tables:
                out[table.name].write(_csv_line(_cells(row, table.columns)))
            if not row["accepted"]:
                continue
            accepted += 1
            for kind, name in texts.items():
                if kind != "smi":
                    copier.copy(row, kind, out[name])
                elif row.get("smiles"):
                    out[name].write(_smiles_line(row))
        if request.listing is not None:
            _list_rows(out[request.listing], accepting(finished_rows(files, job.id, shards), request), alive)
        if request.product is not None:
            rows = finished_rows(files, job.id, shards)
            out[request.product].write(request.produce(rows, job.weights_sha256))
    listed = [
        ResultFile(name=name, bytes=out[name].bytes, sha256=out[name].sha256, media_type=media_type(name))
        for name in names
    ]
    return listed, accepted


def _list_rows(target: HashingWriter, rows: Iterable[dict[str, Any]], alive: Callable[[], None]) -> None:
    """All rows as one JSON array, written as they come."""
    target.write(b"[")
    for number, row in enumerate(rows):
        alive()
        told = {name: value for name, value in row.items() if name not in PRIVATE}
        target.write((b",\n" if number else b"\n") + json.dumps(told, separators=(",", ":")).encode())
    target.write(b"\n]\n")


def media_type(name: str) -> str:
    """The media type of a job's file."""
    return MEDIA_TYPES[PurePath(name).suffix]


class _Copier:
    """Copies texts out of shard files, with at most one shard's files open."""

    def __init__(self, files: ResultFiles, job_id: str, stack: ExitStack) -> None:
        self._files, self._job_id = files, job_id
        self._shard = ""
        self._open = stack.enter_context(ExitStack())
        self._handles: dict[str, Any] = {}

    def copy(self, row: dict[str, Any], kind: str, target: HashingWriter) -> None:
        place = row["places"].get(kind)
        if place is None:
            return
        if row["shard"] != self._shard:
            self._open.close()
            self._handles, self._shard = {}, row["shard"]
        if kind not in self._handles:
            file = self._files.open(self._job_id, f"{row['shard']}/{TEXTS[kind]}")
            self._handles[kind] = self._open.enter_context(file)
        handle = self._handles[kind]
        handle.seek(place[0])
        target.write(handle.read(place[1]))


def _cells(row: dict[str, Any], columns: Iterable[str]) -> list[Any]:
    reasons = ";".join(reason["code"] for reason in row.get("reasons", ()))
    return [reasons if name == "reasons" else _value(row, name) for name in columns]


def _value(row: Any, path: str) -> Any:
    """The field at a dotted path; "" where there is none."""
    for name in path.split("."):
        row = row.get(name, "") if isinstance(row, dict) else ""
    return row


def _csv_line(cells: Iterable[Any]) -> bytes:
    """One line; texts that a spreadsheet would take for a formula are quoted away."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_harmless(cell) for cell in cells])
    return buffer.getvalue().encode()


def _smiles_line(row: dict[str, Any]) -> bytes:
    """A molecule with its own title, or its number where it has none."""
    title = " ".join(str(row.get("title") or row["index"]).split())
    return f"{row['smiles']} {title}\n".encode()


def _harmless(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, list | dict):
        return json.dumps(cell)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t")) else cell
