"""The two benchmark systems, DW4 and LJ13, and the paths that lead to LJ13 from free particles in a trap.

Both are sums over pairs of identical particles, with temperature 1: p(x) is proportional to exp(-E(x)) on the
centered subspace. Distances are d = sqrt(r^2 + 1e-6), as published (Köhler et al., arXiv 2006.02425; E-NF,
arXiv 2105.09016, section 5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import ConfigError, ShapeError

SMALLEST = 1e-6
"""Added to squared distances, as published."""

PairFunction = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Squared distances `[b, pairs]` to the energy of each pair and its derivative by the squared distance."""


def double_well(squared: Tensor) -> tuple[Tensor, Tensor]:
    """DW4's pair energy 0.9 (d-4)^4 - 4 (d-4)^2, a pair counted once."""
    d = squared.sqrt()
    s = d - 4.0
    return 0.9 * s.pow(4) - 4.0 * s.square(), (3.6 * s.pow(3) - 8.0 * s) / (2 * d)


def lennard_jones(squared: Tensor) -> tuple[Tensor, Tensor]:
    """LJ13's pair energy 2 (d^-12 - 2 d^-6), a pair counted twice."""
    sixth = 1 / (squared * squared * squared)
    return 2.0 * sixth * (sixth - 2.0), 12.0 * (sixth - sixth.square()) / squared


@dataclass(frozen=True)
class PairPotential:
    """E(x) = sum over pairs of `pair(d^2)` + trap / 2 sum_i |x_i - mean|^2, for `[b, points, dimensions]`."""

    points: int
    dimensions: int
    pair: PairFunction
    trap: float = 0.0

    def energy(self, x: Tensor) -> Tensor:
        """Energies `[b]` in units of the temperature."""
        return self(x)[0]

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies `[b]` and their gradients `[b, points, dimensions]`."""
        if x.dim() != 3 or tuple(x.shape[1:]) != (self.points, self.dimensions):
            raise ShapeError("x", x.shape, f"[b, {self.points}, {self.dimensions}]")
        i, j = torch.triu_indices(self.points, self.points, 1, device=x.device)
        difference = x[:, i] - x[:, j]
        energies, slope = self.pair(difference.square().sum(-1) + SMALLEST)
        pull = (2 * slope)[..., None] * difference
        nodes = torch.arange(self.points, device=x.device)[:, None]
        gradient = ((nodes == i).to(x.dtype) - (nodes == j).to(x.dtype)) @ pull
        energy = energies.sum(-1)
        if self.trap:
            centered = remove_mean(x)
            energy = energy + 0.5 * self.trap * centered.square().sum((-1, -2))
            gradient = gradient + self.trap * centered
        return energy, gradient


SYSTEMS: dict[str, PairPotential] = {
    "dw4": PairPotential(4, 2, double_well),
    "lj13": PairPotential(13, 3, lennard_jones, trap=1.0),
}


def system(name: str) -> PairPotential:
    """A benchmark system by name. Raises ConfigError for an unknown one."""
    if name not in SYSTEMS:
        raise ConfigError(f"no particle system {name!r}; known are {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


@dataclass(frozen=True)
class SoftCore:
    """Lennard-Jones pairs that come out of nothing: 2 s / w^2 - 4 s^p / w with w = d^6 + a (1 - s), s in 0..1.

    At s = 0 the particles do not see each other, at s = 1 they are those of LJ13; nothing is singular on the way
    (Beutler et al., Chem. Phys. Lett. 222, 529 (1994)). A power p above 1 lets the attraction come later than the
    repulsion. `strength` is `[b, 1]`, one s a row.
    """

    strength: Tensor
    softness: float = 0.5
    power: float = 1.0

    def __call__(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        s = self.strength
        attraction = s.pow(self.power)
        inverse = 1 / (squared * squared * squared + self.softness * (1 - s))
        by_w = 4 * inverse.square() * (attraction - s * inverse)
        return inverse * (2 * s * inverse - 4 * attraction), 3 * squared.square() * by_w

    def derivative(self, squared: Tensor) -> Tensor:
        """dE/ds of every pair."""
        s = self.strength
        inverse = 1 / (squared * squared * squared + self.softness * (1 - s))
        by_w = 4 * inverse.square() * (s.pow(self.power) - s * inverse)
        explicit = inverse * (2 * inverse - 4 * self.power * s.pow(self.power - 1))
        return explicit - self.softness * by_w


def squared_distances(x: Tensor) -> Tensor:
    """Squared distances of all pairs as the potentials see them, `[..., n, d]` to `[..., n(n-1)/2]`."""
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 1, device=x.device)
    return (x[..., i, :] - x[..., j, :]).square().sum(-1) + SMALLEST
