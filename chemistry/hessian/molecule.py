"""From a molecule to the Hessian at its nearest minimum. Call it inside a `Guard` when the molecule is foreign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from chemistry.hessian.forces import Forces, minimize
from chemistry.hessian.isotopes import isotope_masses
from chemistry.hessian.mmff import mmff_forces
from chemistry.hessian.modes import Matrix, hessian, vibrational
from chemistry.hessian.thermodynamics import frequencies
from chemistry.hessian.xtb import xtb_forces
from chemistry.reasons import Failure
from chemistry.structure import Structure

EnergyModel = Literal["mmff", "xtb"]

LARGEST_GRADIENT = 0.01
"""kcal/mol/Angstrom: what a minimum may have left. Frequencies are then good to far below 1/cm."""

TRIES = 3
"""Saddle points left along their unstable mode before giving up."""

NUDGE = 0.1
"""Angstrom: how far an atom moves when a saddle point is left."""


@dataclass(frozen=True)
class MolecularHessian:
    """A molecule at a minimum, with the Hessian `[3n, 3n]` there (kcal/mol/Angstrom^2) and how it was found."""

    structure: Structure
    model: str  # MMFF94, GFN2-xTB
    energy: float  # kcal/mol
    gradient: float  # largest component left, kcal/mol/Angstrom
    moved: float  # largest displacement of an atom by the minimization, Angstrom
    matrix: Matrix
    asymmetry: float  # before it was made symmetric: a measure of its error
    gradient_calls: int


def forces_of(structure: Structure, model: EnergyModel) -> Forces | Failure:
    """The energy model of a molecule, or why there is none."""
    return mmff_forces(structure) if model == "mmff" else xtb_forces(structure)


def molecular_hessian(structure: Structure, model: EnergyModel) -> MolecularHessian | Failure:
    """Go downhill to the nearest minimum and take the Hessian there by 3n Hessian-vector products.

    Fails as no-vibrations (one atom), no-parameters, or not-minimum.
    """
    if structure.n_atoms < 2:
        return Failure.because("no-vibrations", "a single atom has no vibrations", title=structure.title)
    forces = forces_of(structure, model)
    if isinstance(forces, Failure):
        return forces
    masses = isotope_masses(structure.numbers)
    start = np.array(structure.positions)
    for _ in range(TRIES):
        found = minimize(forces, start)
        if found.gradient > LARGEST_GRADIENT:
            left = f"the gradient stays at {found.gradient:.2g} kcal/mol/Angstrom"
            message = f"no minimum of {forces.name} was found: {left}"
            return Failure.because("not-minimum", message, title=structure.title)
        matrix, asymmetry = hessian(forces, found.positions)
        inside = vibrational(matrix, masses, found.positions)
        values, vectors = np.linalg.eigh(inside.matrix)
        if values[0] > 0:
            moved = float(np.linalg.norm(found.positions - structure.positions, axis=1).max())
            return MolecularHessian(
                replace(structure, positions=found.positions), forces.name, found.energy, found.gradient, moved,
                matrix, asymmetry, forces.calls,
            )  # fmt: skip
        mode = (inside.basis @ vectors[:, 0]).reshape(-1, 3)
        start = found.positions + NUDGE * mode / np.linalg.norm(mode, axis=1).max()
    lowest = float(frequencies(values[:1])[0])
    message = (
        f"{TRIES} times downhill on {forces.name} ended where a mode does not bind ({lowest:.1f}/cm; negative "
        "means imaginary): two fragments far apart, or a saddle point"
    )
    return Failure.because("not-minimum", message, title=structure.title)
