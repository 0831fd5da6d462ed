"""The exact log-determinant of a matrix in memory: Cholesky where it may, LU elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.errors import DivergedError, ShapeError
from models.vde.errors import NotPositiveDefiniteError, SingularError
from models.vde.operators import Form
from models.vde.results import LogDeterminant


def check_matrix(matrix: Tensor, form: Form) -> None:
    """Raise for what has no log-determinant: not square, not finite, singular, not symmetric positive definite."""
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise ShapeError("matrix", matrix.shape, "a square matrix [n, n]")
    if not bool(matrix.isfinite().all()):
        raise DivergedError("the matrix has entries that are not finite numbers.")
    values = torch.linalg.svdvals(matrix)
    largest, smallest = float(values[0]), float(values[-1])
    if smallest <= largest * matrix.shape[0] * torch.finfo(matrix.dtype).eps:
        raise SingularError(
            f"the matrix is singular in float64: its singular values reach from {largest:.3g} down to {smallest:.3g}."
        )
    if form == "spd":
        check_definite(matrix)


def is_symmetric(matrix: Tensor) -> bool:
    """Whether a matrix equals its transpose up to rounding."""
    return torch.allclose(matrix, matrix.T, rtol=0.0, atol=1e-10 * float(matrix.abs().max()))


def check_definite(matrix: Tensor) -> None:
    """Raise NotPositiveDefiniteError unless the matrix is symmetric positive definite."""
    if not is_symmetric(matrix):
        worst = float((matrix - matrix.T).abs().max())
        raise NotPositiveDefiniteError(
            f"the matrix is not symmetric: it differs from its transpose by up to {worst:.3g}."
        )
    if int(torch.linalg.cholesky_ex(matrix)[1]):
        lowest = float(torch.linalg.eigvalsh(matrix)[0])
        raise NotPositiveDefiniteError(
            f"the matrix is symmetric but not positive definite: its lowest eigenvalue is {lowest:.3g}."
        )


def exact(matrix: Tensor, form: Form = "general") -> LogDeterminant:
    """log|det A| by factorization, after `check_matrix`; a matrix known by its products takes n of them."""
    check_matrix(matrix, form)
    if form == "spd":
        value = 2 * float(torch.linalg.cholesky(matrix).diagonal().log().sum())
    else:
        value = float(torch.linalg.slogdet(matrix)[1])
    return LogDeterminant(value, "exact", 0.0, value, value, matrix.shape[0])
