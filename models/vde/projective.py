"""Linear maps of space followed by projection to the sphere: s = L z / |L z|.

The image of the uniform distribution is the angular central Gaussian, with log-Jacobian log|det L| - n log|L z|
in the tangent spaces. With L = A^-1 it is the proposal of zero variance for |det A|, so the optimum is inside.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.vde.flows import SphericalFlow


class ProjectiveFlow(SphericalFlow):
    """A linear map, then projection; subclasses say which maps they can reach."""

    def linear(self) -> Tensor:
        """The map L `[n, n]`."""
        raise NotImplementedError

    def multiply(self, z: Tensor) -> Tensor:
        """L z for every row of `z` `[b, n]`."""
        return z @ self.linear().T

    def solve(self, s: Tensor) -> Tensor:
        """L^-1 s for every row of `s` `[b, n]`."""
        z: Tensor = torch.linalg.solve(self.linear(), s.T).T
        return z

    def log_det(self) -> Tensor:
        """log|det L|."""
        log_det: Tensor = torch.linalg.slogdet(self.linear())[1]
        return log_det

    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        y = self.multiply(base)
        length = y.norm(dim=1)
        return y / length[:, None], self.log_det() - self.size * length.log()

    def inverse(self, s: Tensor) -> tuple[Tensor, Tensor]:
        z = self.solve(s)
        length = z.norm(dim=1)
        return z / length[:, None], -self.log_det() - self.size * length.log()


class FixedProjection(ProjectiveFlow):
    """A given invertible map, not trained."""

    def __init__(self, matrix: Tensor) -> None:
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ShapeError("matrix", matrix.shape, "a square matrix [n, n]")
        super().__init__(matrix.shape[0])
        self.register_buffer("matrix", matrix.to(torch.float64))

    def linear(self) -> Tensor:
        return cast("Tensor", self.matrix)


class DiagonalProjection(ProjectiveFlow):
    """A stretch along the axes: n numbers."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.logs = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def linear(self) -> Tensor:
        return torch.diag(self.logs.exp())

    def multiply(self, z: Tensor) -> Tensor:
        return z * self.logs.exp()

    def solve(self, s: Tensor) -> Tensor:
        return s * (-self.logs).exp()

    def log_det(self) -> Tensor:
        return self.logs.sum()


class LowRankProjection(ProjectiveFlow):
    """L = D (I + U V^T) with U, V `[n, rank]`: products and log-determinants cost n rank^2, not n^2."""

    def __init__(self, size: int, rank: int, generator: torch.Generator) -> None:
        super().__init__(size)
        if not 1 <= rank <= size:
            raise ConfigError(f"rank {rank} was asked for; wanted 1 to the size, {size}.")
        self.logs = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        # V starts at zero, which makes L the identity; U must not, or neither would ever move.
        start = torch.randn(size, rank, generator=generator, dtype=torch.float64) / size**0.5
        self.left = nn.Parameter(start)
        self.right = nn.Parameter(torch.zeros(size, rank, dtype=torch.float64))

    def linear(self) -> Tensor:
        identity = torch.eye(self.size, dtype=torch.float64)
        return self.logs.exp()[:, None] * (identity + self.left @ self.right.T)

    def multiply(self, z: Tensor) -> Tensor:
        return (z + (z @ self.right) @ self.left.T) * self.logs.exp()

    def solve(self, s: Tensor) -> Tensor:
        y = s * (-self.logs).exp()  # Woodbury's identity
        correction: Tensor = torch.linalg.solve(self._small(), (y @ self.right).T).T @ self.left.T
        return y - correction

    def log_det(self) -> Tensor:
        log_det: Tensor = self.logs.sum() + torch.linalg.slogdet(self._small())[1]
        return log_det

    def _small(self) -> Tensor:
        return torch.eye(self.left.shape[1], dtype=torch.float64) + self.right.T @ self.left


class TriangularProjection(ProjectiveFlow):
    """A lower triangular map with positive diagonal: every angular central Gaussian has exactly one."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.factor = nn.Parameter(torch.eye(size, dtype=torch.float64))

    def linear(self) -> Tensor:
        return self.factor.tril()

    def solve(self, s: Tensor) -> Tensor:
        z: Tensor = torch.linalg.solve_triangular(self.linear(), s.T, upper=False).T
        return z

    def log_det(self) -> Tensor:
        return self.factor.diagonal().log().sum()
