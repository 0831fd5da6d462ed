"""Generalized Sylvester flows: z = x + W^-1 f(W x) with an autoregressive f (arXiv 2006.01910, section 4)."""

from __future__ import annotations

import torch
import zuko.nn
from torch import Tensor, nn

from models.convexp.layers import ConvolutionExponential, DenseMap, householder
from models.core.errors import DivergedError

STEEPEST = 0.5
"""|df_i/du_i| stays below: the layer is invertible, and fixed-point sweeps converge along the diagonal."""


class Autoregressive(nn.Module):
    """f_i = s2 tanh(s1 u_i + t1) + t2, with s1, t1, s2, t2 from a masked network of u_1..u_(i-1).

    The diagonal of its Jacobian is s1 s2 / cosh^2 with |s1 s2| <= STEEPEST.
    """

    def __init__(self, size: int, hidden: int = 32) -> None:
        super().__init__()
        earlier = torch.ones(size, size, dtype=torch.bool).tril(-1)
        self.network = zuko.nn.MaskedMLP(earlier.repeat(4, 1), hidden_features=[hidden], activation=nn.SiLU)
        self.size = size

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """f(u) `[b, n]` and the diagonal of its Jacobian `[b, n]`."""
        s1, t1, s2, t2 = self.network(u).reshape(len(u), 4, self.size).unbind(1)
        s1, s2 = s1.tanh(), STEEPEST * s2.tanh()
        bent = (s1 * u + t1).tanh()
        return s2 * bent + t2, s1 * s2 * (1 - bent.square())


class SylvesterFlow(nn.Module):
    """A generalized Sylvester layer on `[b, n]`; W is an orthogonal matrix after a convolution exponential."""

    def __init__(self, size: int, generator: torch.Generator, hidden: int = 32) -> None:
        super().__init__()
        weight = torch.randn(size, size, generator=generator, dtype=torch.float64) / (4 * size**0.5)
        self.mixing = ConvolutionExponential(DenseMap(weight))
        self.reflections = nn.Parameter(torch.randn(size, size, generator=generator, dtype=torch.float64))
        self.autoregressive = Autoregressive(size, hidden).to(torch.float64)
        with torch.no_grad():
            for parameter in self.autoregressive.parameters():
                parameter.normal_(0.0, 0.3, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log|det| `[b]` = sum log(1 + diagonal of f's Jacobian)."""
        change, diagonal = self.autoregressive(self._mix(x))
        return x + self._unmix(change), diagonal.log1p().sum(1)

    def inverse(self, z: Tensor, *, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
        """x by fixed-point sweeps u <- W z - f(u), and the inverse's log-determinant.

        Raises DivergedError when `n` sweeps and those that the diagonal needs do not reach `tolerance`.
        """
        target = self._mix(z)
        u = target
        most = z.shape[1] + 60
        for _ in range(most):
            change, diagonal = self.autoregressive(u)
            moved = target - change
            step = float((moved - u).detach().abs().max())
            u = moved
            if step <= tolerance * (1 + float(target.detach().abs().max())):
                diagonal = self.autoregressive(u)[1]
                return self._unmix(u), -diagonal.log1p().sum(1)
        raise DivergedError(f"the inverse still moves by {step:.2g} after {most} sweeps.")

    def _mix(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mixing(x @ householder(self.reflections).T)[0]
        return mixed

    def _unmix(self, u: Tensor) -> Tensor:
        return self.mixing.inverse(u)[0] @ householder(self.reflections)
