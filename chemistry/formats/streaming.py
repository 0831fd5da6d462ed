"""Cut a file that may not fit in memory into the texts of its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from chemistry.formats.limits import ReadLimits
from chemistry.formats.xyz import atoms_announced

MAX_SDF_LINES = 100_000
"""A record without an end is cut here, so that it cannot fill the memory."""


def record_texts(lines: Iterable[str], format: str, limits: ReadLimits) -> Iterator[str]:
    """The text of each record of `lines`; each can be given to `read_structures` alone."""
    iterator = (line[: limits.max_line_length + 1] for line in lines)
    if format == "smiles":
        return (line for line in iterator if line.strip())
    return _sdf(iterator) if format == "sdf" else _xyz(iterator, limits)


def _sdf(lines: Iterator[str]) -> Iterator[str]:
    record: list[str] = []
    for line in lines:
        record.append(line)
        if line.startswith("$$$$") or len(record) == MAX_SDF_LINES:
            yield "".join(record)
            record = []
    if any(line.strip() for line in record):
        yield "".join(record)


def _xyz(lines: Iterator[str], limits: ReadLimits) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            continue
        count = atoms_announced(line) or 0
        kept = list(islice(lines, 1 + min(count, limits.max_atoms) if count else 0))
        for _ in range(count - limits.max_atoms):
            next(lines, None)
        yield line + "".join(kept)
