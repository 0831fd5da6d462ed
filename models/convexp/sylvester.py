"""Generalized Sylvester flows: z = x + W^-1 f(W x) with an autoregressive f (arXiv 2006.01910, section 4).

W is an orthogonal matrix over the channels after a convolution exponential: of a matrix, of a 1-D or 2-D
convolution, or of a graph convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.convexp.autoregressive import (
    ConvolutionalAutoregressive,
    DenseAutoregressive,
    GraphAutoregressive,
)
from models.convexp.layers import (
    ConvolutionExponential,
    ConvolutionMap,
    DenseMap,
    GraphMap,
    LinearMap,
    householder,
)
from models.core.errors import DivergedError


class SylvesterFlow(nn.Module):
    """A generalized Sylvester layer of items with `channels` along `axis`, float64; `generator` draws its start."""

    def __init__(
        self,
        linear: LinearMap,
        autoregressive: nn.Module,
        channels: int,
        generator: torch.Generator,
        *,
        axis: int = 1,
    ) -> None:
        super().__init__()
        self.mixing = ConvolutionExponential(linear)
        self.axis = axis
        self.reflections = nn.Parameter(
            torch.randn(channels, channels, generator=generator, dtype=torch.float64)
        )
        self.autoregressive = autoregressive.to(torch.float64)
        with torch.no_grad():
            for parameter in self.autoregressive.parameters():
                parameter.normal_(0.0, 0.3, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log|det| `[b]` = sum log(1 + diagonal of f's Jacobian)."""
        change, diagonal = self.autoregressive(self._mix(x))
        return x + self._unmix(change), diagonal.log1p().flatten(1).sum(1)

    def inverse(self, z: Tensor, *, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
        """x by fixed-point sweeps u <- W z - f(u), and the inverse's log-determinant.

        f is triangular, so every sweep settles at least one more value but for what its own slope, at most
        STEEPEST, leaves over. Raises DivergedError when as many sweeps as values, and those that the diagonal
        needs, do not reach `tolerance`.
        """
        target = self._mix(z)
        u = target
        most = z[0].numel() + 60
        for _ in range(most):
            change, diagonal = self.autoregressive(u)
            moved = target - change
            step = float((moved - u).detach().abs().max())
            u = moved
            if step <= tolerance * (1 + float(target.detach().abs().max())):
                diagonal = self.autoregressive(u)[1]
                return self._unmix(u), -diagonal.log1p().flatten(1).sum(1)
        raise DivergedError(f"the inverse still moves by {step:.2g} after {most} sweeps.")

    def _mix(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mixing(self._turned(x, householder(self.reflections)))[0]
        return mixed

    def _unmix(self, u: Tensor) -> Tensor:
        return self._turned(self.mixing.inverse(u)[0], householder(self.reflections).T)

    def _turned(self, x: Tensor, matrix: Tensor) -> Tensor:
        return (x.movedim(self.axis, -1) @ matrix.T).movedim(-1, self.axis)


def dense_sylvester(size: int, generator: torch.Generator, hidden: int = 32) -> SylvesterFlow:
    """On vectors `[b, size]`."""
    weight = _small((size, size), size, generator)
    return SylvesterFlow(DenseMap(weight), DenseAutoregressive(size, hidden), size, generator)


def convolutional_sylvester(
    channels: int, kernel: Sequence[int], generator: torch.Generator, hidden: int = 16
) -> SylvesterFlow:
    """On `[b, channels, n]` or `[b, channels, h, w]`, by the number of odd kernel sizes; of any length or area."""
    weight = _small((channels, channels, *kernel), channels * math.prod(kernel), generator)
    bent = ConvolutionalAutoregressive(channels, kernel, hidden)
    return SylvesterFlow(ConvolutionMap(weight), bent, channels, generator)


def graph_sylvester(
    channels: int, adjacency: Tensor, generator: torch.Generator, hidden: int = 16
) -> SylvesterFlow:
    """On node features `[b, n, channels]` of the graph with this adjacency `[n, n]`."""
    own, neighbours = (_small((channels, channels), channels, generator) for _ in range(2))
    bent = GraphAutoregressive(channels, adjacency, hidden)
    return SylvesterFlow(GraphMap(own, neighbours, adjacency), bent, channels, generator, axis=2)


def _small(shape: Sequence[int], inputs: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64) / (4 * math.sqrt(inputs))
