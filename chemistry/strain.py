"""Strain: how far the energy of a geometry lies above that of the minimum downhill of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from chemistry.bonds.distance import distance_bonds
from chemistry.errors import ChemistryError
from chemistry.guard import Guard
from chemistry.hessian.forces import Forces, minimize
from chemistry.hessian.mmff import mmff_forces
from chemistry.hessian.xtb import xtb_available, xtb_forces
from chemistry.reasons import Failure
from chemistry.structure import Structure

StrainModel = Literal["auto", "xtb", "mmff"]

SECONDS = 120.0
"""For one molecule; GFN2-xTB takes about a second for 15 atoms and grows with their cube."""

TOLERANCE = 0.05
"""kcal/mol/Angstrom: a relaxation that ends here is within about 0.03 kcal/mol of the minimum's energy."""

STEPS = 500


class XtbUnavailableError(ChemistryError, RuntimeError):
    """GFN2-xTB was asked for and tblite is not installed."""

    code = "xtb-unavailable"

    def __init__(self) -> None:
        super().__init__(
            "GFN2-xTB needs tblite: pip install 'equimol[xtb]', or ask for the model mmff or auto"
        )


@dataclass(frozen=True)
class Strain:
    """Strain in kcal/mol with the energy model's name, and how the relaxation went.

    `fallback` says why "auto" did not use GFN2-xTB, and is empty where it did. `displacement` is the root mean
    square in Angstrom after superposition; `gradient` the largest component left (kcal/mol/Angstrom): above
    TOLERANCE the strain is a lower bound. `same_bonds` is False where the relaxation made or broke bonds (by
    distances), so that the energy is not that of the molecule given.
    """

    energy: float
    model: str
    fallback: str
    displacement: float
    gradient: float
    same_bonds: bool
    relaxed: Structure


def strain(
    structure: Structure, *, model: StrainModel = "auto", guard: Guard | None = None
) -> Strain | Failure:
    """The strain of one molecule, in a killable child. "auto" is GFN2-xTB, else MMFF94 with the reason named.

    A failure is no-parameters, not-minimum or timeout. Raises XtbUnavailableError for "xtb" without tblite.
    """
    (found,) = strains([structure], model=model, guard=guard)
    return found


def strains(
    structures: Iterable[Structure], *, model: StrainModel = "auto", guard: Guard | None = None
) -> list[Strain | Failure]:
    """`strain` of many molecules, as many at once as the guard has children; one that hangs costs only itself."""
    if model == "xtb" and not xtb_available():
        raise XtbUnavailableError
    jobs = [(structure, model) for structure in structures]
    if guard is not None:
        return guard.map(_guarded_strain, jobs)
    with Guard(timeout_seconds=SECONDS) as own:
        return own.map(_guarded_strain, jobs)


def _guarded_strain(job: tuple[Structure, StrainModel]) -> Strain | Failure:
    """Runs in the guard's child."""
    return relaxed_strain(*job)


def relaxed_strain(structure: Structure, model: StrainModel) -> Strain | Failure:
    """The strain of one molecule, in this process: for molecules that are trusted to end."""
    fallback = ""
    if model == "mmff":
        forces = mmff_forces(structure)
    else:
        forces = xtb_forces(structure, accuracy=1.0)
        if isinstance(forces, Failure) and model == "auto":
            fallback, forces = str(forces), mmff_forces(structure)
    if isinstance(forces, Failure):
        return forces
    return _relax(structure, forces, fallback)


def _relax(structure: Structure, forces: Forces, fallback: str) -> Strain | Failure:
    before = forces.energy_gradient(np.array(structure.positions))[0]
    found = minimize(forces, np.array(structure.positions), tolerance=TOLERANCE, rounds=1, steps=STEPS)
    if not np.isfinite(found.energy) or not np.isfinite(before) or not np.isfinite(found.positions).all():
        message = f"the relaxation by {forces.name} did not end in finite numbers"
        return Failure.because("not-minimum", message, title=structure.title)
    after = replace(structure, positions=found.positions)
    return Strain(
        energy=max(before - found.energy, 0.0),
        model=forces.name,
        fallback=fallback,
        displacement=_displacement(structure, after),
        gradient=found.gradient,
        same_bonds=_pairs(structure) == _pairs(after),
        relaxed=after,
    )


def _pairs(structure: Structure) -> set[tuple[int, int]]:
    """Which atoms are bonded, by distances."""
    bonds = distance_bonds(structure.numbers, structure.positions).bonds
    return {(min(bond.begin, bond.end), max(bond.begin, bond.end)) for bond in bonds}


def _displacement(first: Structure, second: Structure) -> float:
    """Root mean square displacement after the best superposition (Kabsch, Acta Cryst. A 32, 922, 1976)."""
    a, b = (one.positions - one.positions.mean(0) for one in (first, second))
    u, _, vh = np.linalg.svd(a.T @ b)
    u[:, -1] *= np.sign(np.linalg.det(u @ vh))
    return float(np.sqrt(((a @ (u @ vh) - b) ** 2).sum(1).mean()))
