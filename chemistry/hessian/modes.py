"""Hessians by products, and their vibrational part: mass-weighted, with the rigid motions projected out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemistry.hessian.forces import Forces

Matrix = NDArray[np.float64]

LINEAR = 1e-6
"""A molecule is linear when its smallest principal moment is below this part of the largest."""


def hessian_products(forces: Forces, positions: Matrix, directions: Matrix) -> Matrix:
    """H v for rows of `directions` `[k, 3n]` at `positions` `[n, 3]`: kcal/mol/Angstrom^2 per unit of v.

    By four-point central differences: the error is that of the fifth derivative times step^4, and of rounding.
    """
    out = np.empty_like(directions)
    for row, direction in enumerate(directions):
        length = float(np.linalg.norm(direction))
        if length == 0.0:
            out[row] = 0.0
            continue
        shift = (forces.step / length) * direction.reshape(positions.shape)
        near = forces.gradient(positions + shift) - forces.gradient(positions - shift)
        far = forces.gradient(positions + 2 * shift) - forces.gradient(positions - 2 * shift)
        out[row] = ((8 * near - far) * (length / (12 * forces.step))).ravel()
    return out


def hessian(forces: Forces, positions: Matrix) -> tuple[Matrix, float]:
    """The Hessian `[3n, 3n]`, made symmetric, by 3n products; and the largest asymmetry, a measure of their error."""
    raw = hessian_products(forces, positions, np.eye(positions.size))
    return 0.5 * (raw + raw.T), float(np.abs(raw - raw.T).max())


def rigid_modes(masses: Matrix, positions: Matrix) -> Matrix:
    """Orthonormal mass-weighted translations and rotations, `[3n, 6]`, `[3n, 5]` if linear, `[3, 3]` for an atom."""
    roots = np.sqrt(masses)
    centered = positions - masses @ positions / masses.sum()
    translations = [np.outer(roots, axis).ravel() for axis in np.eye(3)]
    moments, axes = np.linalg.eigh(inertia(masses, positions))
    rotations = [
        (roots[:, None] * np.cross(axis, centered)).ravel()
        for moment, axis in zip(moments, axes.T, strict=True)
        if moment > LINEAR * moments[-1]
    ]
    columns: Matrix = np.linalg.qr(np.array(translations + rotations).T)[0]
    return columns


def inertia(masses: Matrix, positions: Matrix) -> Matrix:
    """The tensor of inertia about the center of mass, `[3, 3]` in u Angstrom^2."""
    centered = positions - masses @ positions / masses.sum()
    squares = np.einsum("i,ij,ik->jk", masses, centered, centered)
    tensor: Matrix = np.trace(squares) * np.eye(3) - squares
    return tensor


@dataclass(frozen=True)
class VibrationalHessian:
    """The mass-weighted Hessian within the vibrations, `[m, m]` in kcal/mol/Angstrom^2/u.

    Its eigenvalues are squared angular frequencies; m is 3n - 6, or 3n - 5 for a linear molecule. `basis` `[3n, m]`
    turns coordinates of vibrations (Angstrom sqrt(u)) into displacements (Angstrom): matrix = basis^T H basis.
    """

    matrix: Matrix
    basis: Matrix
    masses: Matrix
    positions: Matrix

    @property
    def modes(self) -> int:
        """m."""
        return len(self.matrix)


def vibrational(full: Matrix, masses: Matrix, positions: Matrix) -> VibrationalHessian:
    """From a Hessian `[3n, 3n]`: weighted by masses, in an orthonormal basis without the rigid motions."""
    rigid = rigid_modes(masses, positions)
    roots = np.repeat(np.sqrt(masses), 3)
    whole = np.linalg.qr(rigid, mode="complete")[0]
    basis = whole[:, rigid.shape[1] :] / roots[:, None]
    matrix = basis.T @ full @ basis
    return VibrationalHessian(0.5 * (matrix + matrix.T), basis, masses, positions)


def product_rule(masses: Matrix, positions: Matrix, other: Matrix) -> float:
    """log det of the vibrational Hessian with masses `other` minus that with `masses`, by Teller and Redlich.

    3 sum ln(m/m') - 3 ln(M/M') - ln det I/det I', for any potential at a stationary point; of a linear molecule's
    moments only the two equal ones count.
    """
    parts = 3 * np.log(masses / other).sum() - 3 * np.log(masses.sum() / other.sum())
    return float(parts - _log_inertia(masses, positions) + _log_inertia(other, positions))


def _log_inertia(masses: Matrix, positions: Matrix) -> float:
    moments = np.linalg.eigvalsh(inertia(masses, positions))
    return float(np.log(moments[moments > LINEAR * moments[-1]]).sum())
