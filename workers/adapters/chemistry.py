"""Convert and validate: molecules in, molecules or reasons out. All of it happens in killable children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

from chemistry.check import BondRule, Report, check
from chemistry.formats import write_sdf, write_smiles, write_xyz
from chemistry.reasons import Failure
from chemistry.structure import Structure
from workers.adapters.base import Cancelled, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.molecules import (
    Record,
    drawing,
    failure_data,
    guarded,
    read_record,
    reasons_data,
    report_data,
)
from workers.cards import Card

Parts = tuple[dict[str, Any], str, str, str]
"""A row's columns, its SDF record, its XYZ frame and its drawing."""


class Adapter(FamilyAdapter):
    """The family without a model."""

    def setup(self, card: Card | None, device: str) -> None:  # noqa: ARG002
        """Start the child, so that the first request finds it ready."""
        self._guard.call(process, [("C", "smiles", 0)], keep_bonds=False, bond_rule="distance")

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """A row per record."""
        function = partial(process, keep_bonds=work.capability == "convert", bond_rule=work.request.bond_rule)  # type: ignore[attr-defined]
        for item, parts in guarded(self._guard, function, work.items, cancelled):
            yield Outcome(item, work.request, work.capability, parts)
            progress(StepProgress(0, 0))

    def encode(self, outcome: Outcome) -> Row:
        """The row as the child made it."""
        if isinstance(outcome.value, Failure):
            return Row(outcome.item.index, failure_data(outcome.value))
        data, sdf, xyz, svg = cast("Parts", outcome.value)
        return Row(outcome.item.index, data, sdf=sdf, xyz=xyz, svg=svg)


def process(records: Sequence[Record], *, keep_bonds: bool, bond_rule: BondRule) -> list[Parts]:
    """In the child: read, check, write and draw every record."""
    return [_process_one(read_record(record), keep_bonds, bond_rule) for record in records]


def _process_one(found: Structure | Failure, keep_bonds: bool, bond_rule: BondRule) -> Parts:
    if isinstance(found, Failure):
        return failure_data(found), "", "", ""
    report = check(found, bond_rule=bond_rule)
    data = report_data(report) | {"passed": True}
    if keep_bonds and found.bonds is not None:
        return _with_own_bonds(found, report, data)
    return data, report.mol_block, write_xyz(found), drawing(report)


def _with_own_bonds(structure: Structure, report: Report, data: dict[str, Any]) -> Parts:
    """A converted molecule keeps the bonds of its file; it is valid when RDKit accepts them."""
    smiles = write_smiles(structure)
    refused = isinstance(smiles, Failure)
    data |= {
        "smiles": None if refused else smiles,
        "valid": not refused,
        "bond_rule": "given",
        "reasons": reasons_data(smiles.reasons) if isinstance(smiles, Failure) else [],
    }
    return data, write_sdf(structure), write_xyz(structure), drawing(report)
