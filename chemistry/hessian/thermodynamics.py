"""What follows from a log-determinant, and from a whole spectrum, of the vibrational Hessian."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.constants import Avogadro, Planck, R, atomic_mass, calorie, k, speed_of_light

OMEGA_SQUARED = 1e3 * calorie / Avogadro / (1e-10**2 * atomic_mass)
"""One kcal/mol/Angstrom^2/u in s^-2."""


def frequencies(eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wavenumbers in 1/cm; those of negative eigenvalues are imaginary and given as negative numbers."""
    roots = np.sqrt(np.abs(eigenvalues) * OMEGA_SQUARED) / (2 * math.pi * speed_of_light * 100)
    return np.asarray(np.sign(eigenvalues) * roots)


def classical_entropy(log_det: float, modes: int, temperature: float) -> float:
    """R (m - sum ln(h nu/kT)) in J/mol/K, of m classical oscillators with that log-determinant.

    It is the limit of high temperature: stiff modes (h nu > kT) make it too low, even negative.
    """
    log_nu = 0.5 * (log_det + modes * math.log(OMEGA_SQUARED)) - modes * math.log(2 * math.pi)
    return float(R * (modes - log_nu - modes * math.log(Planck / (k * temperature))))


def quantum_entropy(eigenvalues: NDArray[np.float64], temperature: float) -> float:
    """The harmonic oscillators' entropy in J/mol/K; needs the whole spectrum, all of it positive."""
    u = reduced(eigenvalues, temperature)
    empty = -np.expm1(-u)  # 1 - exp(-u); exp(u) would overflow
    return float(R * (u * np.exp(-u) / empty - np.log(empty)).sum())


def reduced(eigenvalues: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """h nu/kT of every mode."""
    nu = np.sqrt(eigenvalues * OMEGA_SQUARED) / (2 * math.pi)
    return np.asarray(Planck * nu / (k * temperature))


def classical_partition_ratio(log_det: float, other: float) -> float:
    """ln Q'/Q of the classical vibrations when isotopes change the log-determinant from `log_det` to `other`."""
    return 0.5 * (log_det - other)


def reduced_partition_ratio(
    eigenvalues: NDArray[np.float64], other: NDArray[np.float64], temperature: float
) -> float:
    """ln of Bigeleisen and Mayer's ratio (s'/s) f: quantum over classical partition functions, heavy over light.

    J. Chem. Phys. 15, 261 (1947): the product of u'/u exp(-u'/2)/(1 - exp(-u')) (1 - exp(-u))/exp(-u/2).
    """
    light, heavy = (_log_quantum_over_classical(reduced(each, temperature)) for each in (eigenvalues, other))
    return heavy - light


def _log_quantum_over_classical(u: NDArray[np.float64]) -> float:
    return float((np.log(u) - 0.5 * u - np.log(-np.expm1(-u))).sum())
