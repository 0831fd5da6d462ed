"""Energies with gradients, and the nearest minimum of one. Angstrom, kcal/mol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize as scipy_minimize

Vector = NDArray[np.float64]


@dataclass
class Forces:
    """The energy (kcal/mol) and gradient `[n, 3]` (kcal/mol/Angstrom) of positions `[n, 3]`; calls are counted.

    `step` is the displacement in Angstrom at which differences of this gradient are most accurate.
    """

    name: str
    function: Callable[[Vector], tuple[float, Vector]]
    step: float
    calls: int = 0

    def energy_gradient(self, positions: Vector) -> tuple[float, Vector]:
        """Energy and gradient at once."""
        self.calls += 1
        return self.function(positions)

    def gradient(self, positions: Vector) -> Vector:
        """The gradient alone."""
        return self.energy_gradient(positions)[1]


@dataclass(frozen=True)
class Minimum:
    """Where a minimization ended: positions `[n, 3]`, energy, and the largest component of the gradient."""

    positions: Vector
    energy: float
    gradient: float
    calls: int


STIFFNESS = 700.0
"""kcal/mol/Angstrom^2: about that of a bond. BFGS starts from it, which saves about half of its calls."""


def minimize(
    forces: Forces, positions: Vector, *, tolerance: float = 1e-5, rounds: int = 4, steps: int = 2000
) -> Minimum:
    """The minimum downhill of `positions`, by BFGS restarted until no gradient component exceeds `tolerance`.

    It ends after `steps` steps a round, or where rounding does not let it further; the caller judges `gradient`.
    """
    shape, before = positions.shape, forces.calls

    def function(x: Vector) -> tuple[float, Vector]:
        energy, gradient = forces.energy_gradient(x.reshape(shape))
        return energy, gradient.ravel()

    x, best = positions.ravel(), np.inf
    for _ in range(rounds):
        options = {"gtol": tolerance, "maxiter": steps, "hess_inv0": np.eye(x.size) / STIFFNESS}
        found = scipy_minimize(function, x, jac=True, method="BFGS", options=options)
        x, largest = found.x, float(np.abs(found.jac).max())
        if largest <= tolerance or largest > 0.5 * best:
            break
        best = largest
    energy, gradient = function(x)
    return Minimum(x.reshape(shape), energy, float(np.abs(gradient).max()), forces.calls - before)
