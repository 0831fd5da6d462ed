"""Matrices known by their products only, which are counted; gradients flow through the transposed product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.core.errors import ShapeError

Form = Literal["general", "spd"]
"""Any square matrix, or a symmetric positive definite one."""

Product = Callable[[Tensor], Tensor]


class LinearOperator(Protocol):
    """A square real matrix A; rows of vectors `[b, n]` go in and out, in float64.

    `matvecs` counts every vector that was multiplied by A or by its transpose.
    """

    size: int
    matvecs: int

    def apply(self, x: Tensor) -> Tensor:
        """A x for every row of `x`."""

    def apply_transpose(self, x: Tensor) -> Tensor:
        """A^T x for every row of `x`."""


class FunctionOperator:
    """An operator from a function of rows `[b, n]`; without `transpose` it is taken to be symmetric."""

    def __init__(self, size: int, product: Product, transpose: Product | None = None) -> None:
        self.size = size
        self.matvecs = 0
        self._product = product
        self._transpose = transpose or product

    def apply(self, x: Tensor) -> Tensor:
        self._count(x)
        return self._product(x)

    def apply_transpose(self, x: Tensor) -> Tensor:
        self._count(x)
        return self._transpose(x)

    def _count(self, x: Tensor) -> None:
        if x.dim() != 2 or x.shape[1] != self.size:
            raise ShapeError("x", x.shape, f"[rows, {self.size}]")
        self.matvecs += x.shape[0]


def dense(matrix: Tensor) -> FunctionOperator:
    """The operator of a matrix `[n, n]` in memory. Raises ShapeError when it is not square."""
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise ShapeError("matrix", matrix.shape, "a square matrix [n, n]")
    matrix = matrix.to(torch.float64)
    return FunctionOperator(matrix.shape[0], lambda x: x @ matrix.T, lambda x: x @ matrix)


def convolution(kernel: Tensor, height: int, width: int) -> FunctionOperator:
    """A 2-D convolution (cross-correlation, zero padding, one channel) as a square operator on images.

    `kernel` `[k, k]` with odd k; vectors are images of `height` times `width` pixels, row by row.
    """
    if kernel.dim() != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise ShapeError("kernel", kernel.shape, "a square kernel [k, k] with odd k")
    weight = kernel.to(torch.float64)[None, None]
    padding = kernel.shape[0] // 2

    def product(x: Tensor) -> Tensor:
        return F.conv2d(x.reshape(-1, 1, height, width), weight, padding=padding).reshape(x.shape)

    def transpose(x: Tensor) -> Tensor:
        image = x.reshape(-1, 1, height, width)
        return F.conv_transpose2d(image, weight, padding=padding).reshape(x.shape)

    return FunctionOperator(height * width, product, transpose)


def normal(operator: LinearOperator) -> FunctionOperator:
    """A^T A, symmetric; every product of it counts as two of A's, on `operator` itself."""
    return FunctionOperator(operator.size, lambda x: operator.apply_transpose(operator.apply(x)))


def to_matrix(operator: LinearOperator) -> Tensor:
    """The matrix itself, `[n, n]`, by n products."""
    return operator.apply(torch.eye(operator.size, dtype=torch.float64)).T


def product(operator: LinearOperator, x: Tensor) -> Tensor:
    """A x for rows `[b, n]`, differentiable in `x`."""
    out: Tensor = _Product.apply(x, operator)  # type: ignore[no-untyped-call]
    return out


class _Product(torch.autograd.Function):
    """The derivative of A x along x needs A^T only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: LinearOperator) -> Tensor:
        ctx.operator = operator
        return operator.apply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.operator.apply_transpose(gradients[0]), None
