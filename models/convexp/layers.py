"""Linear maps with their trace and a bound on their norm, and the flow layer z = exp(M) x of any of them."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.convexp.exponential import exponential
from models.core.errors import ConfigError, ShapeError


class LinearMap(Protocol):
    """A square linear map M of the values of one item, applied to a batch of items."""

    def __call__(self, x: Tensor) -> Tensor:
        """M x, of the shape of `x`."""

    def trace(self, x: Tensor) -> Tensor:
        """tr M for items of the shape of `x`'s: `[b]`, or a single number."""

    def norm(self) -> float:
        """A bound on the spectral norm, sqrt(|M|_1 |M|_inf): never too small."""


class DenseMap(nn.Module):
    """A matrix, on `[b, n]`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
            raise ShapeError("weight", weight.shape, "a square matrix [n, n]")
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def trace(self, x: Tensor) -> Tensor:  # noqa: ARG002
        return self.weight.trace()

    def norm(self) -> float:
        size = self.weight.detach().abs()
        return float((size.sum(0).max() * size.sum(1).max()).sqrt())


class ConvolutionMap(nn.Module):
    """A convolution that keeps the shape (stride 1, zeros around): `[b, c, n]` or `[b, c, h, w]` by its kernel.

    `kernel` is `[c, c, k]` or `[c, c, k, k]` with odd k. The trace is the number of places times the sum of the
    middle's diagonal.
    """

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        shape = kernel.shape
        if kernel.dim() not in (3, 4) or shape[0] != shape[1] or any(k % 2 == 0 for k in shape[2:]):
            raise ShapeError("kernel", shape, "[c, c, k] or [c, c, k, k] with odd k")
        self.kernel = nn.Parameter(kernel)

    def forward(self, x: Tensor) -> Tensor:
        padding = [k // 2 for k in self.kernel.shape[2:]]
        if self.kernel.dim() == 3:
            return F.conv1d(x, self.kernel, padding=padding[0])
        return F.conv2d(x, self.kernel, padding=(padding[0], padding[1]))

    def trace(self, x: Tensor) -> Tensor:
        taps = self.kernel.flatten(2)  # as many after the middle one as before
        return taps[:, :, taps.shape[2] // 2].trace() * x[0, 0].numel()

    def norm(self) -> float:
        size = self.kernel.detach().abs().flatten(2).sum(2)
        return float((size.sum(0).max() * size.sum(1).max()).sqrt())


class GraphMap(nn.Module):
    """L(X) = X W0 + A X W1 on one graph's node features `[b, n, c]`, with an adjacency `[n, n]` of any weights.

    The trace is n tr W0 + tr A tr W1; relabeled nodes with a relabeled adjacency give relabeled values.
    """

    def __init__(self, own: Tensor, neighbours: Tensor, adjacency: Tensor) -> None:
        super().__init__()
        if own.shape != neighbours.shape or own.dim() != 2 or own.shape[0] != own.shape[1]:
            raise ShapeError("own and neighbours", own.shape, "square matrices [c, c] of one size")
        self.own, self.neighbours = nn.Parameter(own), nn.Parameter(neighbours)
        self.register_buffer("adjacency", adjacency)
        self.adjacency: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.own + self.adjacency @ x @ self.neighbours

    def trace(self, x: Tensor) -> Tensor:
        return x.shape[1] * self.own.trace() + self.adjacency.trace() * self.neighbours.trace()

    def norm(self) -> float:
        sizes = [m.detach().abs() for m in (self.own, self.neighbours, self.adjacency)]
        own, neighbours, adjacency = (float((m.sum(0).max() * m.sum(1).max()).sqrt()) for m in sizes)
        return own + adjacency * neighbours


class ConvolutionExponential(nn.Module):
    """z = exp(M) x with log-determinant tr M; the inverse is exp(-M) (arXiv 2006.01910, section 3).

    Scaled so that the series is accurate to rounding for every norm up to `exponential.LARGEST`; beyond, both
    directions raise NormTooLargeError instead of truncating silently.
    """

    def __init__(self, linear: LinearMap) -> None:
        super().__init__()
        if not isinstance(linear, nn.Module):
            raise ConfigError("the linear map must be a module, so that its weights are found.")
        self.linear = linear

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the log-determinant of each item, `[b]`."""
        z = exponential(self.linear, x, self.linear.norm())
        return z, self.linear.trace(x).expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x and the inverse's log-determinant."""
        x = exponential(self.linear, z, self.linear.norm(), sign=-1.0)
        return x, -self.linear.trace(z).expand(len(z))


def householder(vectors: Tensor) -> Tensor:
    """The orthogonal matrix `[c, c]` of a product of reflections, one a row of `vectors` `[k, c]`."""
    c = vectors.shape[1]
    matrix = torch.eye(c, dtype=vectors.dtype)
    for v in vectors:
        matrix = matrix - 2 * torch.outer(matrix @ v, v) / v.square().sum()
    return matrix
