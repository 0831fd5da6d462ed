"""What a reader accepts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadLimits:
    """Bounds on foreign text; beyond them a record is a Failure with code `too-large`."""

    max_records: int = 100_000
    max_atoms: int = 1_000
    max_line_length: int = 10_000
