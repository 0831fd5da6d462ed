"""Rows of molecules, and reading foreign molecules where they can do no harm."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from chemistry.check import Report
from chemistry.errors import BadStructureError, DrawingUnavailableError
from chemistry.formats import ReadLimits, read_structures
from chemistry.guard import Guard
from chemistry.reasons import Failure, Reason
from chemistry.structure import Structure
from workers.adapters.base import Cancelled, Item, Row

_T = TypeVar("_T")
Record = tuple[str, str, int]
"""Text, format and the seed for its coordinates: what is sent to a guarded child."""

GROUP = 8
"""Records that one guarded call reads; when the call dies they are read one by one."""


def record_of(item: Item) -> Record:
    """The text of an item with input; the seed for SMILES depends on the job's seed and the item's index."""
    digest = hashlib.blake2b(f"{item.seed}:{item.index}".encode(), digest_size=4).digest()
    text = (item.record or b"").decode("utf-8", errors="replace")
    return text, item.format or "sdf", int.from_bytes(digest, "little") >> 1


def read_record(record: Record) -> Structure | Failure:
    """One molecule, or why there is none. Call it through `guarded`."""
    text, form, seed = record
    if form == "json":
        return _from_json(text)
    found = list(read_structures(text, form, limits=ReadLimits(), seed=seed))  # type: ignore[arg-type]
    if len(found) == 1:
        return found[0]
    failures = [one for one in found if isinstance(one, Failure)]
    return failures[0] if failures else Failure.because("bad-record", f"{len(found)} molecules; wanted one")


def _from_json(text: str) -> Structure | Failure:
    given = json.loads(text)
    try:
        return Structure(given["numbers"], given["positions"], given["charge"], given["title"])
    except BadStructureError as error:
        return Failure.because("bad-record", str(error), title=given["title"])


def read_all(records: Sequence[Record]) -> list[Structure | Failure]:
    """A group of records, read in the child."""
    return [read_record(record) for record in records]


def guarded(
    guard: Guard,
    function: Callable[[Sequence[Record]], list[_T]],
    items: Sequence[Item],
    cancelled: Cancelled,
) -> Iterator[tuple[Item, _T | Failure]]:
    """`function` of every record in killable children; one that kills its child spoils only itself."""
    for start in range(0, len(items), GROUP):
        if cancelled():
            return
        group = items[start : start + GROUP]
        answer = guard.call(function, [record_of(item) for item in group])
        if not isinstance(answer, Failure):
            yield from zip(group, answer, strict=True)
        elif len(group) == 1:
            yield group[0], answer
        else:
            for item in group:
                if cancelled():
                    return
                alone = guard.call(function, [record_of(item)])
                yield item, alone if isinstance(alone, Failure) else alone[0]


def report_data(report: Report) -> dict[str, Any]:
    """The row's columns that a report gives; `passed` is the caller's."""
    return {
        "title": report.structure.title,
        "smiles": report.smiles,
        "inchikey": report.inchikey,
        "formula": report.formula,
        "n_atoms": report.n_atoms,
        "valid": report.valid,
        "connected": bool(report.connected),
        "stable": report.molecule_stable,
        "stable_atoms": report.stable_atoms,
        "bond_rule": report.bond_rule,
        "reasons": reasons_data(report.reasons),
    }


def drawing(report: Report) -> str:
    """The molecule's 2D drawing; empty where the machine cannot draw, which must not cost the molecule."""
    try:
        return report.svg()
    except DrawingUnavailableError as error:
        _say_once(str(error))
        return ""


@cache
def _say_once(message: str) -> None:
    logging.getLogger(__name__).warning("%s", message)


def failure_data(failure: Failure) -> dict[str, Any]:
    """The row of a molecule that could not be had."""
    return {
        "title": failure.title,
        "smiles": None,
        "valid": False,
        "passed": False,
        "reasons": reasons_data(failure.reasons),
    }


def reasons_data(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """Reasons as JSON."""
    return [
        {"code": reason.code, "message": reason.message, "atoms": list(reason.atoms)} for reason in reasons
    ]


def lost_row(item: Item, code: str, message: str) -> Row:
    """The row of an item that could not be computed at all."""
    reasons = [{"code": code, "message": message, "atoms": []}]
    return Row(item.index, {"smiles": None, "valid": False, "passed": False, "reasons": reasons})
