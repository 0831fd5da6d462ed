"""What clients read of a job's results, while it runs and afterwards; never held whole in memory."""

from __future__ import annotations

import base64
import heapq
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from workers.files import ResultFiles
from workers.joining import PRIVATE, ROWS, finished_rows
from workers.problems import NotFound, NotReady, Validation
from workers.records import JobRecord, ResultFile
from workers.shardfiles import read_text
from workers.store import JobStore
from workers.streams import Pipe

TextKind = Literal["sdf", "xyz", "svg", "trajectory"]
SORT_FIELDS = ("index", "n_atoms", "log_likelihood", "standard_error", "smiles", "formula")


@dataclass(frozen=True)
class RowFilter:
    """Which rows of a table to show; None: all of them."""

    valid: bool | None = None
    connected: bool | None = None
    stable: bool | None = None
    accepted: bool | None = None  # known when the job has ended
    reason: str | None = None  # rows that failed with this code
    min_atoms: int | None = None
    max_atoms: int | None = None

    def keeps(self, row: dict[str, Any]) -> bool:
        """Whether the row is shown."""
        wanted = {
            "valid": self.valid,
            "connected": self.connected,
            "stable": self.stable,
            "accepted": self.accepted,
        }
        atoms = row.get("n_atoms") or 0
        return (
            all(value is None or bool(row.get(name)) is value for name, value in wanted.items())
            and (
                self.reason is None or any(reason["code"] == self.reason for reason in row.get("reasons", ()))
            )
            and (self.min_atoms is None or atoms >= self.min_atoms)
            and (self.max_atoms is None or atoms <= self.max_atoms)
        )


@dataclass(frozen=True)
class RowPage:
    """Some rows of the table; `cursor` asks for the next ones, None: there are none (yet, while the job
    runs).
    """

    rows: tuple[dict[str, Any], ...]
    cursor: str | None


class Results:
    """Rows, single molecules and files of jobs."""

    def __init__(self, store: JobStore, files: ResultFiles) -> None:
        self.store, self.files = store, files

    # --- the table --------------------------------------------------------------------------------------

    def rows(self, job: JobRecord) -> Iterator[dict[str, Any]]:
        """All rows in the order of the candidates, as stored: of the ended job, or of the shards finished so
        far.
        """
        if job.ended and job.folder:
            with self.files.open(job.id, job.path(ROWS)) as file:
                for line in file:
                    yield json.loads(line)
        else:
            yield from finished_rows(self.files, job.id, self.store.shards(job.id))

    def page(
        self,
        job: JobRecord,
        *,
        where: RowFilter | None = None,
        sort: str = "index",
        cursor: str | None = None,
        limit: int = 50,
    ) -> RowPage:
        """One page of the table; `sort` is a field of SORT_FIELDS, with "-" before it for falling order.

        Rows without a value for the field come last. Raises Validation for an unknown field or cursor.
        """
        name, falling = sort.removeprefix("-"), sort.startswith("-")
        if name not in SORT_FIELDS:
            raise Validation(f"cannot sort by {name!r}; fields: {', '.join(SORT_FIELDS)}")
        after = None if cursor is None else _read_cursor(cursor, sort)
        where = where or RowFilter()

        def place(row: dict[str, Any]) -> _Place:
            return _Place(row.get(name), int(row["index"]), falling)

        shown = (row for row in self.rows(job) if where.keeps(row))
        if after is not None:
            last = _Place(after[0], after[1], falling)
            shown = (row for row in shown if last < place(row))
        rows = heapq.nsmallest(limit + 1, shown, key=place)
        more = len(rows) > limit
        rows = rows[:limit]
        cursor = _write_cursor(sort, rows[-1].get(name), int(rows[-1]["index"])) if more else None
        return RowPage(tuple(public(row) for row in rows), cursor)

    # --- one molecule -----------------------------------------------------------------------------------

    def row(self, job: JobRecord, index: int) -> dict[str, Any]:
        """One row by its index, as stored. Raises NotFound, and NotReady while its shard is not finished."""
        start = f'{{"index":{index},'.encode()
        if job.ended and job.folder:
            with self.files.open(job.id, job.path(ROWS)) as file:
                for line in file:
                    if line.startswith(start):
                        return cast("dict[str, Any]", json.loads(line))
            raise NotFound(f"job {job.id} has no molecule {index}")
        for shard in self.store.shards(job.id):
            if shard.start <= index < shard.start + shard.count:
                for row in finished_rows(self.files, job.id, [shard]):
                    if row["index"] == index:
                        return row
                if not job.ended and shard.status != "done":
                    raise NotReady(f"molecule {index} of job {job.id} is not finished yet", retry_after=1)
        raise NotFound(f"job {job.id} has no molecule {index}")

    def text(self, job: JobRecord, index: int, kind: TextKind) -> bytes:
        """The SDF, XYZ, SVG or trajectory of one molecule. Raises NotFound when it has none, and NotReady."""
        text = read_text(self.files, job.id, self.row(job, index), kind)
        if not text:
            raise NotFound(f"molecule {index} of job {job.id} has no {kind}")
        return text

    # --- files ------------------------------------------------------------------------------------------

    def file(self, job: JobRecord, name: str) -> ResultFile:
        """The description of a file (size, sha256 for the ETag). Raises NotReady and NotFound."""
        for file in job.files:
            if file.name == name:
                return file
        if not job.ended:
            raise NotReady(
                f"job {job.id} is {job.status}; its files are there when it has ended", retry_after=1
            )
        names = ", ".join(file.name for file in job.files) or "none"
        raise NotFound(f"job {job.id} has no file {name[:100]!r}; files: {names}")

    def stream(self, job: JobRecord, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a file or of a range of it, in pieces.

        Raises as `file` does, before the first piece.
        """
        self.file(job, name)
        return self.files.stream(job.id, job.path(name), start, length)

    def read(self, job: JobRecord, name: str) -> bytes:
        """A small file whole. Raises as `file` does."""
        self.file(job, name)
        return self.files.read(job.id, job.path(name))

    def archive(self, job: JobRecord) -> Iterator[bytes]:
        """all.zip in pieces, made while it is sent: all files and the input. Raises NotReady."""
        if not job.ended:
            raise NotReady(
                f"job {job.id} is {job.status}; its files are there when it has ended", retry_after=1
            )
        members = {file.name: job.path(file.name) for file in job.files}
        return self._archive(job, members | ({job.input.name: job.input.name} if job.input else {}))

    def _archive(self, job: JobRecord, members: dict[str, str]) -> Iterator[bytes]:
        pipe = Pipe()
        with zipfile.ZipFile(cast("Any", pipe), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in members.items():
                with archive.open(zipfile.ZipInfo(name, job.created.timetuple()[:6]), "w") as member:
                    for piece in self.files.stream(job.id, path):
                        member.write(piece)
                        yield from pipe.taken()
        yield from pipe.taken()


def public(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what only we need, and with the kinds of text that it has."""
    return {name: value for name, value in row.items() if name not in PRIVATE} | {
        "texts": list(row["places"])
    }


class _Place:
    """Where a row stands in a sorted table: by value, rows without one last, ties by index."""

    def __init__(self, value: Any, index: int, falling: bool) -> None:
        self.value, self.index, self.falling = value, index, falling

    def __lt__(self, other: _Place) -> bool:
        if (self.value is None) != (other.value is None):
            return other.value is None
        if self.value == other.value:
            return self.index < other.index
        return bool(self.value > other.value) if self.falling else bool(self.value < other.value)


def _write_cursor(sort: str, value: Any, index: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, value, index]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str) -> tuple[Any, int]:
    try:
        made_for, value, index = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if made_for == sort and (value is None or isinstance(value, int | float | str)):
            return value, int(index)
    except (ValueError, TypeError):
        pass
    raise Validation("this cursor does not belong to this table and order; start again without a cursor")
