"""Long jumps of single particles, which carry chains over barriers that trajectories rarely climb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.enf_particles.chains import Chains, EnergyAndGradient
from models.enf_particles.potentials import SMALLEST, PairPotential


@dataclass(frozen=True, eq=False)
class Leaps:
    """Takes one particle away and puts it back near another one, at a distance that two particles alone would have.

    The distance is drawn from r^(d-1) exp(-E(r)) on cells of equal width up to `farthest`, the direction
    uniformly; the density of the proposal, a mixture over the other particles, is known and enters Metropolis'
    and Hastings' rule.
    """

    dimensions: int
    farthest: float
    probability: Tensor  # of each cell [cells]

    @classmethod
    def of(cls, system: PairPotential, *, farthest: float = 8.0, cells: int = 800) -> Leaps:
        """The jumps that suit a system's pairs."""
        r = (torch.arange(cells, dtype=torch.float64) + 0.5) * farthest / cells
        weight = r.log() * (system.dimensions - 1) - system.pair(r.square() + SMALLEST)[0]
        return cls(system.dimensions, farthest, torch.softmax(weight, 0))

    @property
    def width(self) -> float:
        """Width of a cell."""
        return self.farthest / len(self.probability)

    def log_density(self, particle: Tensor, others: Tensor) -> Tensor:
        """log of the proposal at `[b, d]`, given the other particles `[b, n-1, d]`, up to a constant: `[b]`."""
        r = (particle[:, None] - others).norm(dim=-1)
        cell = (r / self.width).long()
        inside = cell < len(self.probability)
        density = torch.where(inside, self.probability[cell.clamp(max=len(self.probability) - 1)], 0.0)
        mixture: Tensor = density * r.clamp(min=1e-12).pow(1 - self.dimensions)
        return mixture.mean(1).log()

    def sweep(self, target: EnergyAndGradient, chains: Chains, generator: torch.Generator) -> Tensor:
        """One attempt in every chain; returns the probabilities of acceptance `[b]`."""
        x = chains.x
        b, n, d = x.shape
        draw: dict[str, Any] = {"generator": generator, "dtype": x.dtype}
        rows = torch.arange(b)
        chosen = torch.randint(n, (b,), generator=generator)
        shift = torch.randint(1, n, (b,), generator=generator)
        near = x[rows, (chosen + shift) % n]
        cell = torch.multinomial(self.probability, b, replacement=True, generator=generator)
        r = (cell + torch.rand(b, **draw)) * self.width
        direction = torch.randn(b, d, **draw)
        new = near + r[:, None] * direction / direction.norm(dim=-1, keepdim=True)
        keep = torch.ones(b, n, dtype=torch.bool).index_put((rows, chosen), torch.tensor(False))
        others = x[keep].view(b, n - 1, d)
        proposed = x.index_put((rows, chosen), new)
        energy, gradient = target(proposed)
        chance = chains.energy - energy
        chance = chance + self.log_density(x[rows, chosen], others) - self.log_density(new, others)
        chance = chance.nan_to_num(nan=-torch.inf, neginf=-torch.inf).clamp(max=0).exp()
        taken = torch.rand(b, **draw) < chance
        chains.x = torch.where(taken[:, None, None], remove_mean(proposed), x)
        chains.energy = torch.where(taken, energy, chains.energy)
        chains.gradient = torch.where(taken[:, None, None], gradient, chains.gradient)
        return chance
