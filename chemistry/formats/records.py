"""Cut foreign text into records without trusting it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from chemistry.errors import BadStructureError, UnknownElementError
from chemistry.formats.limits import ReadLimits
from chemistry.reasons import Code, Failure

_T = TypeVar("_T")


def lines_of(text: str) -> list[str]:
    """Lines of `text` whatever its line ends; only CR, LF and CRLF count, as in the formats' definitions."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def too_long(lines: list[str], limits: ReadLimits) -> Failure | None:
    """A Failure if one of `lines` passes the limit."""
    longest = max(map(len, lines), default=0)
    if longest <= limits.max_line_length:
        return None
    return Failure.because(
        "too-large", f"a line has {longest} characters; the limit is {limits.max_line_length}"
    )


def bounded(records: Iterator[_T], limits: ReadLimits) -> Iterator[_T | Failure]:
    """Pass records through up to the limit, then say that the rest was not read."""
    for count, record in enumerate(records):
        if count == limits.max_records:
            yield Failure.because(
                "too-large", f"more than {limits.max_records} records; the rest was not read"
            )
            return
        yield record


def bad_structure(error: BadStructureError, title: str) -> Failure:
    """The Failure that `error` means for one record."""
    code: Code = "unknown-element" if isinstance(error, UnknownElementError) else "bad-record"
    return Failure.because(code, str(error), title=title)
