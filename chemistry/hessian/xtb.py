"""GFN2-xTB energies and gradients from tblite, where it is installed (extra `xtb`)."""

from __future__ import annotations

import importlib.util

import numpy as np
from scipy.constants import calorie, physical_constants

from chemistry.hessian.forces import Forces, Vector
from chemistry.reasons import Failure
from chemistry.structure import Structure

BOHR = physical_constants["Bohr radius"][0] * 1e10
"""Angstrom."""
HARTREE = (
    physical_constants["Hartree energy"][0] * physical_constants["Avogadro constant"][0] / (1e3 * calorie)
)
"""kcal/mol."""
ACCURACY = 1e-3
"""tblite's own factor on its convergence thresholds: differences of gradients need tight ones."""


def xtb_available() -> bool:
    """Whether tblite is installed."""
    return importlib.util.find_spec("tblite") is not None


def xtb_forces(structure: Structure, *, accuracy: float = ACCURACY) -> Forces | Failure:
    """GFN2-xTB of a molecule in its lowest spin, or why there is none."""
    if not xtb_available():
        return Failure.because("no-parameters", "method xtb needs tblite: pip install 'equimol[xtb]'")
    from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
    from tblite.interface import Calculator

    electrons = int(structure.numbers.sum()) - structure.charge
    try:
        calculator = Calculator(
            "GFN2-xTB", structure.numbers, structure.positions / BOHR, structure.charge, electrons % 2
        )
        calculator.set("verbosity", 0)
        calculator.set("accuracy", accuracy)
        last = calculator.singlepoint()
    except (TBLiteRuntimeError, TBLiteValueError) as error:
        return Failure.because("no-parameters", f"GFN2-xTB cannot compute this molecule: {error}")

    def function(positions: Vector) -> tuple[float, Vector]:
        nonlocal last
        calculator.update(positions / BOHR)
        last = calculator.singlepoint(last)  # from the last charges: a third fewer cycles
        return float(last.get("energy")) * HARTREE, np.array(last.get("gradient")) * (HARTREE / BOHR)

    return Forces("GFN2-xTB", function, step=1e-2)
