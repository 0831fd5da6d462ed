"""The rows of sampled and of scored molecules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemistry.check import check
from chemistry.errors import BadStructureError
from chemistry.formats import write_xyz
from chemistry.reasons import Failure
from chemistry.structure import Structure
from models.core.likelihood import Likelihood
from models.edm.sampling import Sample
from workers.adapters.base import Item, Row
from workers.adapters.molecules import Record, drawing, failure_data, read_record, report_data
from workers.schemas.generation import Filters, GenerateRequest

Frame = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Numbers and positions of one molecule on its way."""


@dataclass(frozen=True)
class Given:
    """A molecule to score: as read, and what chemistry says of it."""

    structure: Structure
    data: dict[str, Any]
    sdf: str
    svg: str


def sampled_row(item: Item, request: GenerateRequest, sample: Sample, frames: list[Frame]) -> Row:
    """A sampled molecule, checked, with its texts and its trajectory."""
    texts = {"trajectory": "".join(_frame_text(frame, k) for k, frame in enumerate(frames))}
    if sample.diverged:
        failure = Failure.because("diverged", "the coordinates left the finite range; try more steps")
        return Row(item.index, failure_data(failure) | {"seed": item.seed})
    structure = Structure(sample.numbers, sample.positions, title=f"molecule {item.index}")
    report = check(structure, bond_rule=request.bond_rule)
    data = report_data(report) | {"seed": item.seed}
    data["passed"] = passes(data, request.effective_filters)
    return Row(item.index, data, sdf=report.mol_block, xyz=write_xyz(structure), svg=drawing(report), **texts)


def passes(data: dict[str, Any], filters: Filters) -> bool:
    """Whether a molecule fulfills the filters; uniqueness is decided when the job is joined."""
    wanted = filters.model_dump(include={"valid", "connected", "stable"})
    return all(bool(data[name]) for name, needed in wanted.items() if needed)


def _frame_text(frame: Frame, number: int) -> str:
    try:
        return write_xyz(Structure(*frame), comment=f"frame={number}")
    except BadStructureError:
        return ""  # a frame of a molecule that is about to diverge


def scored_row(item: Item, given: Given, likelihood: Likelihood) -> Row:
    """A scored molecule with its likelihood and the terms of it."""
    data = given.data | {
        "passed": True,
        "log_likelihood": _finite(likelihood.value),
        "standard_error": _finite(likelihood.standard_error),
        "kind": likelihood.kind,
        "draws": likelihood.draws,
        "integration_error": likelihood.integration_error,
        "terms": {name: _finite(value) for name, value in likelihood.terms.items()},
        "seed": item.seed,
    }
    if math.isnan(likelihood.value):
        message = "the integration did not end in finite numbers; allow a larger tolerance"
        data["reasons"] = [*data["reasons"], {"code": "diverged", "message": message, "atoms": []}]
    if likelihood.value == -math.inf:
        message = (
            f"the model's data has no molecule of {given.structure.n_atoms} atoms, so log p(N) is -infinity"
        )
        data["reasons"] = [*data["reasons"], {"code": "size", "message": message, "atoms": []}]
    return Row(item.index, data, sdf=given.sdf, xyz=write_xyz(given.structure), svg=given.svg)


def _finite(value: float) -> float | None:
    """JSON has no infinity: a value that is not finite is null."""
    return value if math.isfinite(value) else None


def read_for_scoring(records: Sequence[Record]) -> list[Given | Failure]:
    """In a guarded child: read, check and draw the molecules to score."""
    return [_read_one(record) for record in records]


def answered_row(item: Item, answer: Failure | tuple[Given, dict[str, Any]]) -> Row:
    """A molecule with what a model says of it, or the reason why it says nothing."""
    if isinstance(answer, Failure):
        return Row(item.index, failure_data(answer))
    given, data = answer
    return Row(item.index, given.data | data, sdf=given.sdf, xyz=write_xyz(given.structure), svg=given.svg)


def unlike_training(structure: Structure, sizes: tuple[int, int] | None) -> list[dict[str, Any]]:
    """Why a molecule is unlike all of the training data: fewer or more atoms than their `sizes`, or a charge."""
    n, out = structure.n_atoms, []
    if sizes is not None and not sizes[0] <= n <= sizes[1]:
        message = f"unlike the training data: {n} atoms, where they have {sizes[0]} to {sizes[1]}"
        out.append({"code": "outside-size", "message": message, "atoms": []})
    if structure.charge:
        message = "charged; all training molecules are neutral"
        out.append({"code": "outside-charge", "message": message, "atoms": []})
    return out


def _read_one(record: Record) -> Given | Failure:
    found = read_record(record)
    if isinstance(found, Failure):
        return found
    report = check(found, bond_rule="distance" if found.bonds is None else "given")
    return Given(found, report_data(report), report.mol_block, drawing(report))
