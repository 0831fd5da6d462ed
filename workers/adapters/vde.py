"""Log-determinants of matrices and of molecules' Hessians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch

from chemistry.errors import BadStructureError
from chemistry.formats import write_xyz
from chemistry.guard import Guard
from chemistry.hessian import (
    MolecularHessian,
    isotope_masses,
    molecular_hessian,
    product_rule,
    vibrational,
    xtb_available,
)
from chemistry.hessian.thermodynamics import (
    classical_entropy,
    classical_partition_ratio,
    frequencies,
    quantum_entropy,
    reduced_partition_ratio,
)
from chemistry.reasons import Failure
from models.core.errors import EquimolError
from models.core.random import molecule_seed
from models.vde.exact import check_matrix, is_symmetric
from models.vde.methods import Settings, advice, compare
from models.vde.operators import Form
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.molecule_rows import Given, read_for_scoring
from workers.adapters.molecules import Record, failure_data, guarded
from workers.cards import Card
from workers.problems import BadMatrix, BadStructure, Validation
from workers.schemas.vde import LogdetRequest

SECONDS = {"mmff": 60.0, "xtb": 600.0}
"""For one group of molecules: minimization and Hessian."""


@dataclass(frozen=True)
class Found:
    """A molecule with its Hessian."""

    given: Given
    hessian: MolecularHessian


def read_hessians(records: Sequence[Record], *, energy: str) -> list[Found | Failure]:
    """In a guarded child: read the molecules, go to the minimum, take the Hessian."""
    out: list[Found | Failure] = []
    for given in read_for_scoring(records):
        if isinstance(given, Failure):
            out.append(given)
            continue
        found = molecular_hessian(given.structure, cast("Any", energy))
        out.append(found if isinstance(found, Failure) else Found(given, found))
    return out


class Adapter(FamilyAdapter):
    """The estimators; the card has no weights."""

    def setup(self, card: Card | None, device: str) -> None:  # noqa: ARG002
        """Children start when a molecule comes."""
        self._guards = {name: Guard(timeout_seconds=seconds) for name, seconds in SECONDS.items()}

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """One item after the other."""
        request = cast("LogdetRequest", work.request)
        if request.molecules is not None and request.energy == "xtb" and not xtb_available():
            raise Validation(
                "energy xtb needs tblite on the server (pip install 'equimol[xtb]'); use mmff",
                errors=[{"pointer": "/energy", "detail": "must be mmff on this server"}],
            )
        for item, given in self._given(work, request, cancelled):
            try:
                data = given if isinstance(given, Failure) else answer(item, request, given, cancelled)
            except InterruptedError:
                return
            yield Outcome(item, request, work.capability, (given, data))
            progress(StepProgress(0, 0))

    def _given(self, work: Work, request: LogdetRequest, cancelled: Cancelled) -> Iterator[tuple[Item, Any]]:
        if request.molecules is not None:
            function = partial(read_hessians, energy=request.energy)
            yield from guarded(self._guards[request.energy], function, work.items, cancelled)
            return
        for item in work.items:
            if cancelled():
                return
            yield item, torch.tensor((request.matrices or [])[item.index], dtype=torch.float64)

    def encode(self, outcome: Outcome) -> Row:
        """The row, with the molecule at its minimum."""
        given, data = outcome.value
        if isinstance(given, Failure):
            problem = BadStructure(str(given)).to_document()
            return Row(outcome.item.index, failure_data(given) | {"problem": problem})
        if isinstance(given, Found):
            xyz = write_xyz(given.hessian.structure)
            return Row(outcome.item.index, data, sdf=given.given.sdf, xyz=xyz, svg=given.given.svg)
        return Row(outcome.item.index, data)

    def close(self) -> None:
        for guard in self._guards.values():
            guard.close()


def answer(item: Item, request: LogdetRequest, given: Any, cancelled: Cancelled) -> dict[str, Any]:
    """The columns of one matrix or molecule."""
    settings = Settings(
        methods=tuple(request.methods), samples=request.samples, training_steps=request.training_steps,
        batch=request.batch, probes=request.probes, lanczos_steps=request.lanczos_steps,
        seed=molecule_seed(item.seed, item.index),
    )  # fmt: skip
    if isinstance(given, Found):
        return molecule_data(item, request, given, settings, cancelled)
    form: Form = "spd" if request.form == "spd" else "general"
    if request.form == "auto" and len(given) and is_symmetric(given):
        form = "spd" if not int(torch.linalg.cholesky_ex(given)[1]) else "general"
    base: dict[str, Any] = {"title": "", "smiles": None, "source": "matrix", "size": len(given), "form": form}
    try:
        check_matrix(given, form)
    except EquimolError as error:
        return refused(base, "bad-matrix", str(error))
    found = compare(given, form, settings, cancelled)
    sign = int(torch.linalg.slogdet(given)[0])
    return base | told(found, len(given), form) | {"sign": sign, "seed": item.seed}


def refused(base: dict[str, Any], code: str, message: str) -> dict[str, Any]:
    """The row of something without a log-determinant, with its problem document."""
    return base | {
        "valid": False, "passed": False, "log_abs_det": None,
        "reasons": [{"code": code, "message": message, "atoms": []}],
        "problem": BadMatrix(message).to_document(),
    }  # fmt: skip


def told(found: dict[str, dict[str, Any]], size: int, form: Form) -> dict[str, Any]:
    """The methods' answers, the best of them, and what to choose."""
    good = [
        name for name in ("exact", "vde", "lanczos", "naive") if found.get(name, {}).get("value") is not None
    ]
    reasons = [
        {"code": "few-effective-samples", "message": f"{name}: {one['reason']}", "atoms": []}
        for name, one in found.items()
        if one["value"] is None
    ]
    return {
        "valid": bool(good), "passed": bool(good), "methods": found, "reasons": reasons,
        "log_abs_det": found[good[0]]["value"] if good else None, "recommended": "exact",
        "advice": advice(found, size, form),
    }  # fmt: skip


def molecule_data(
    item: Item, request: LogdetRequest, found: Found, settings: Settings, cancelled: Cancelled
) -> dict[str, Any]:
    """The columns of a molecule: its Hessian's log-determinant, and what follows from it."""
    hessian, structure = found.hessian, found.hessian.structure
    base = found.given.data | {"source": "molecule", "seed": item.seed}
    masses = isotope_masses(structure.numbers)
    inside = vibrational(hessian.matrix, masses, structure.positions)
    matrix = torch.from_numpy(inside.matrix)
    methods = compare(matrix, "spd", settings, cancelled)
    values = torch.linalg.eigvalsh(matrix).numpy()
    data = base | told(methods, inside.modes, "spd") | {
        "size": inside.modes, "form": "spd", "unit": "kcal/mol/Angstrom^2/u, per mode",
        "energy_model": hessian.model, "energy_kcal_mol": hessian.energy,
        "minimum": {
            "gradient_kcal_mol_angstrom": hessian.gradient, "moved_angstrom": hessian.moved,
            "hessian_products": 3 * structure.n_atoms, "gradient_calls": hessian.gradient_calls,
            "hessian_asymmetry": hessian.asymmetry,
        },
        "wavenumbers_per_cm": [round(float(value), 2) for value in frequencies(values)],
        "temperature": request.temperature,
    }  # fmt: skip
    data["reasons"] = [*base["reasons"], *data["reasons"]]
    if data["log_abs_det"] is None:
        return data
    data["entropy"] = {
        "classical_j_mol_k": classical_entropy(data["log_abs_det"], inside.modes, request.temperature),
        "quantum_j_mol_k": quantum_entropy(values, request.temperature) if "exact" in methods else None,
        "classical_by_method": {
            name: classical_entropy(one["value"], inside.modes, request.temperature)
            for name, one in methods.items()
            if one["value"] is not None
        },
    }
    if request.isotopes:
        try:
            other = isotope_masses(structure.numbers, request.isotopes)
        except BadStructureError as error:
            reason = {"code": "isotopes", "message": str(error), "atoms": []}
            return data | {"reasons": [*data["reasons"], reason]}
        heavy = vibrational(hessian.matrix, other, structure.positions)
        changed = torch.linalg.eigvalsh(torch.from_numpy(heavy.matrix)).numpy()
        again = compare(torch.from_numpy(heavy.matrix), "spd", settings, cancelled)
        rule = product_rule(masses, structure.positions, other)
        best = next(
            name
            for name in ("exact", "vde", "lanczos", "naive")
            if (methods.get(name) or {}).get("value") is not None
        )
        after = again[best]["value"]
        data["isotopes"] = {
            "asked": request.isotopes, "methods": again,
            "log_det_difference": None if after is None else after - data["log_abs_det"],
            "product_rule": rule,
            "ln_classical_partition_ratio": (
                None if after is None else classical_partition_ratio(data["log_abs_det"], after)
            ),
            "ln_reduced_partition_ratio": (
                reduced_partition_ratio(values, changed, request.temperature) if "exact" in methods else None
            ),
        }  # fmt: skip
    return data
