"""Counts and cuts the molecules of a request as text, so that limits and shards are known before anything is
parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.problems import BadStructure, TooLarge
from workers.records import InputFile, ShardPlan
from workers.schemas.base import Limits
from workers.schemas.molecules import Molecules

_SDF_END = re.compile(rb"^\$\$\$\$[^\n]*(?:\n|\Z)", re.MULTILINE)
_NAMES = {"sdf": "input.sdf", "xyz": "input.xyz", "smiles": "input.smi", "json": "input.jsonl"}


@dataclass(frozen=True)
class PreparedInput:
    """The bytes to store and where each record lies in them."""

    data: bytes
    format: str
    spans: tuple[tuple[int, int], ...]

    @property
    def file(self) -> InputFile:
        """Its description in the job record."""
        return InputFile(
            name=_NAMES[self.format],
            format=self.format,
            records=len(self.spans),
            bytes=len(self.data),
            sha256=hashlib.sha256(self.data).hexdigest(),
        )

    def shards(self, size: int) -> tuple[ShardPlan, ...]:
        """Shards of at most `size` records, each with its bytes."""
        plans = []
        for start in range(0, len(self.spans), size):
            part = self.spans[start : start + size]
            begin, end = part[0][0], part[-1][1]
            plans.append(ShardPlan(start=start, count=len(part), byte_start=begin, byte_count=end - begin))
        return tuple(plans)


def prepare(molecules: Molecules, limits: Limits) -> PreparedInput:
    """The input of a request that brings its own molecules (not `job`). Raises TooLarge and BadStructure."""
    if molecules.sdf is not None:
        return prepare_bytes(molecules.sdf.encode(), "sdf", limits)
    if molecules.xyz is not None:
        return prepare_bytes(molecules.xyz.encode(), "xyz", limits)
    if molecules.smiles is not None:
        return prepare_bytes("".join(f"{text}\n" for text in molecules.smiles).encode(), "smiles", limits)
    lines = [json.dumps(structure.model_dump()) + "\n" for structure in molecules.structures or ()]
    return prepare_bytes("".join(lines).encode(), "json", limits)


def prepare_bytes(data: bytes, format: str, limits: Limits) -> PreparedInput:
    """The input from a file's bytes. Raises TooLarge for too many records or bytes, BadStructure for none."""
    if len(data) > limits.max_input_bytes:
        raise TooLarge(f"the molecules take {len(data)} bytes; this server accepts {limits.max_input_bytes}")
    spans = tuple(record_spans(data, format))
    if not spans:
        raise BadStructure(f"the {format} input holds no molecule")
    if len(spans) > limits.max_molecules:
        raise TooLarge(
            f"the input holds {len(spans)} molecules; this server accepts {limits.max_molecules} per job"
        )
    return PreparedInput(data=data, format=format, spans=spans)


def record_spans(data: bytes, format: str) -> Iterator[tuple[int, int]]:
    """The byte ranges of the records, in order. A record that is cut short or garbled is still one record."""
    match format:
        case "sdf":
            return _sdf_spans(data)
        case "xyz":
            return _xyz_spans(data)
        case "smiles" | "json":
            return _line_spans(data)
        case _:
            raise BadStructure(f"{format!r} is no molecule format; use sdf, xyz, smiles or json")


def records_of(data: bytes, format: str) -> Sequence[bytes]:
    """The records of a shard's bytes, as a worker reads them back."""
    return [data[start:end] for start, end in record_spans(data, format)]


def _sdf_spans(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _SDF_END.finditer(data):
        yield start, match.end()
        start = match.end()
    if data[start:].strip():
        yield start, len(data)


def _line_spans(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for line in data.splitlines(keepends=True):
        end = start + len(line)
        if line.strip():
            yield start, end
        start = end


def _xyz_spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Frames by their atom counts; from the first garbled count on, the rest is one record."""
    position = 0
    while position < len(data):
        end = _line_end(data, position)
        first = data[position:end].strip()
        if not first:
            position = end
            continue
        start = position
        if not first.isdigit() or len(first) > 7:
            yield start, len(data)
            return
        for _ in range(int(first) + 1):
            if end >= len(data):
                break
            end = _line_end(data, end)
        yield start, end
        position = end


def _line_end(data: bytes, start: int) -> int:
    found = data.find(b"\n", start)
    return len(data) if found < 0 else found + 1
