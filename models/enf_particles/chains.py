"""Many parallel Markov chains by Hamiltonian Monte Carlo on the centered subspace (Neal, arXiv 1206.1901)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import ConfigError

EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions `[b, n, d]` to energies `[b]` and gradients `[b, n, d]`, in units of the temperature."""


@dataclass
class Chains:
    """b chains: centered positions `[b, n, d]`, their energies and gradients, and each chain's step size `[b]`."""

    x: Tensor
    energy: Tensor
    gradient: Tensor
    step: Tensor

    @classmethod
    def start(cls, target: EnergyAndGradient, x: Tensor, step: float | Tensor) -> Chains:
        """Chains at the given positions."""
        x = remove_mean(x)
        energy, gradient = target(x)
        return cls(x, energy, gradient, torch.as_tensor(step, dtype=x.dtype).expand(len(x)).clone())

    def retarget(self, target: EnergyAndGradient) -> None:
        """Go on in another potential from the same positions."""
        self.energy, self.gradient = target(self.x)

    def sweep(self, target: EnergyAndGradient, leapfrog: int, generator: torch.Generator) -> Tensor:
        """One trajectory of every chain, accepted or rejected; returns the probabilities of acceptance `[b]`.

        The number of steps is fixed and the step size varies by a fifth from sweep to sweep, independently of the
        state, so that detailed balance holds and no period of the system is hit.
        """
        b = len(self.x)
        draw: dict[str, Any] = {"generator": generator, "dtype": self.x.dtype}
        momentum = remove_mean(torch.randn(self.x.shape, **draw))
        jitter = 0.8 + 0.4 * torch.rand(b, **draw)
        width = (self.step * jitter)[:, None, None]
        before = self.energy + 0.5 * momentum.square().sum((-1, -2))
        x, gradient = self.x, self.gradient
        energy = self.energy
        p = momentum - 0.5 * width * gradient
        for k in range(leapfrog):
            x = x + width * p
            energy, gradient = target(x)
            p = p - (width if k < leapfrog - 1 else 0.5 * width) * gradient
        after = energy + 0.5 * p.square().sum((-1, -2))
        chance: Tensor = (before - after).nan_to_num(nan=-torch.inf, neginf=-torch.inf).clamp(max=0).exp()
        taken = torch.rand(b, **draw) < chance
        self.x = torch.where(taken[:, None, None], remove_mean(x), self.x)
        self.energy = torch.where(taken, energy, self.energy)
        self.gradient = torch.where(taken[:, None, None], gradient, self.gradient)
        return chance

    def tune(
        self, target: EnergyAndGradient, leapfrog: int, sweeps: int, generator: torch.Generator,
        *, acceptance: float = 0.75, together: bool = True,
    ) -> None:  # fmt: skip
        """Sweep while the step size moves towards the wanted acceptance; afterwards it stays as it is.

        `together`: one step size for all chains, by their mean acceptance, else one for each chain.
        """
        for k in range(sweeps):
            chance = self.sweep(target, leapfrog, generator)
            if together:
                chance = chance.mean().expand_as(chance)
            self.step = self.step * torch.exp((chance - acceptance) / (1 + k) ** 0.6)
        if together:
            self.step = self.step.mean().expand_as(self.step).clone()


@dataclass(frozen=True, eq=False)
class Record:
    """What chains left behind: samples `[k, b, n, d]`, energies `[k, b]`, mean acceptance, step size."""

    samples: Tensor
    energies: Tensor
    acceptance: float
    step: float


Move = Callable[[EnergyAndGradient, Chains, torch.Generator], Tensor]
"""A further kind of move that leaves the target as it is, such as `Leaps.sweep`; returns chances `[b]`."""


def record(
    chains: Chains, target: EnergyAndGradient, *, count: int, thin: int, leapfrog: int,
    generator: torch.Generator, moves: Sequence[Move] = (),
) -> Record:  # fmt: skip
    """`count` states of every chain, `thin` sweeps apart, each sweep followed by one of each of `moves`."""
    if min(count, thin, leapfrog) < 1:
        raise ConfigError(
            f"count, thin and leapfrog must be at least 1, but are {count}, {thin}, {leapfrog}."
        )
    samples, energies, chances = [], [], []
    for _ in range(count):
        for _ in range(thin):
            chances.append(float(chains.sweep(target, leapfrog, generator).mean()))
            for move in moves:
                move(target, chains, generator)
        samples.append(chains.x)
        energies.append(chains.energy)
    return Record(
        torch.stack(samples), torch.stack(energies), sum(chances) / len(chances), float(chains.step.mean())
    )


def relaxed(target: EnergyAndGradient, x: Tensor, *, steps: int = 300, longest: float = 0.05) -> Tensor:
    """Positions moved downhill, no particle by more than `longest` a step: overlaps open before a chain starts."""
    for _ in range(steps):
        gradient = target(x)[1].nan_to_num()
        size = gradient.norm(dim=-1, keepdim=True)
        x = remove_mean(x - gradient * torch.clamp(longest / (size + 1e-12), max=0.02))
    return x
