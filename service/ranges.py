"""The parts of HTTP that let a client fetch a file in pieces or not at all (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to and without `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


class UnsatisfiableRangeError(ValueError):
    """The range begins after the end of the file (answered with 416)."""


def parse_range(header: str | None, size: int) -> Span | None:
    """The one span that a Range header asks for; None when the whole file is to be sent.

    Several ranges at once, other units and malformed headers are ignored, as the standard allows.
    """
    match = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), size)
        if length == 0:
            raise UnsatisfiableRangeError(f"the last {last} bytes of {size}")
        return Span(size - length, size)
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableRangeError(f"byte {start} of {size}")
    return Span(start, stop)


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match or If-Match header names `etag` (weak comparison)."""
    if header is None:
        return False
    given = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in given or etag.removeprefix("W/") in given
