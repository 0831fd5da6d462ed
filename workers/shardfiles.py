"""The files of one shard: rows.jsonl, and texts that each row points into by offset and length."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from workers.adapters.base import Row
from workers.files import HashingWriter, ResultFiles

TEXTS = {
    "sdf": "molecules.sdf",
    "xyz": "molecules.xyz",
    "svg": "drawings.svgs",
    "trajectory": "trajectories.xyz",
}
"""The text kinds of a row and the shard file that holds them one after another."""


def shard_folder(unit: str, token: int) -> str:
    """The folder of one attempt; the fencing token keeps attempts apart, the job record names the accepted
    one.
    """
    return f"shards/{int(unit):05d}-{token}"


class ShardWriter:
    """Writes rows one by one; nothing is visible before the block ends without an error."""

    def __init__(self, files: ResultFiles, job_id: str, folder: str) -> None:
        self.files, self.job_id, self.folder = files, job_id, folder
        self.rows = self.valid = self.passed = 0
        self._stack = ExitStack()
        self._open: dict[str, HashingWriter] = {}

    def __enter__(self) -> ShardWriter:
        self._stack.__enter__()
        self._file("rows.jsonl")
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if error[0] is not None:
            self.files.delete(self.job_id, self.folder)

    def add(self, row: Row) -> None:
        """Append one row with its texts."""
        places = {}
        for kind, name in TEXTS.items():
            text = getattr(row, kind).encode()
            if text:
                places[kind] = [self._file(name).write(text), len(text)]
        line = {"index": row.index} | row.data | {"places": places}
        self._file("rows.jsonl").write(
            json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        )
        self.rows += 1
        self.valid += bool(row.data["valid"])
        self.passed += bool(row.data["passed"])

    def _file(self, name: str) -> HashingWriter:
        if name not in self._open:
            context = self.files.write(self.job_id, f"{self.folder}/{name}")
            self._open[name] = self._stack.enter_context(context)
        return self._open[name]


def read_rows(files: ResultFiles, job_id: str, folder: str) -> Iterator[dict[str, Any]]:
    """The rows of one shard in the order of their index: few enough to be sorted in memory."""
    with files.open(job_id, f"{folder}/rows.jsonl") as file:
        rows = [json.loads(line) for line in file]
    for row in sorted(rows, key=lambda row: int(row["index"])):
        yield row | {"shard": folder}


def read_text(files: ResultFiles, job_id: str, row: Mapping[str, Any], kind: str) -> bytes:
    """One text of one row; b"" when the row has none (a failed molecule has no SDF)."""
    place = row["places"].get(kind)
    if place is None:
        return b""
    return files.read(job_id, f"{row['shard']}/{TEXTS[kind]}", *place)
