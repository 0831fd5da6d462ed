"""Free energies of particles in a trap by thermodynamic integration and by annealing in both directions.

At the start of a path the particles do not see each other and the trap alone makes them Gaussian, so that ln Z is
known there: d(n-1)/2 ln(2 pi / trap) on the centered subspace. Both methods are exact for endless runs; they fail in
different ways, so that their agreement means something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from models.core.centered import LOG_TWO_PI, degrees_of_freedom, remove_mean
from models.core.errors import ConfigError
from models.enf_particles.chains import Chains, relaxed
from models.enf_particles.potentials import PairPotential, squared_distances


class Path(Protocol):
    """A pair energy on its way, for strengths `[b, 1]` in 0..1, and what it changes by."""

    def __call__(self, squared: Tensor) -> tuple[Tensor, Tensor]: ...

    def derivative(self, squared: Tensor) -> Tensor:
        """dE/ds of every pair."""


MakePath = Callable[[Tensor], Path]


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, in nats."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Integrated:
    """ln Z by thermodynamic integration; the nodes on the path, the mean dE/ds and the tuned steps there."""

    log_z: Estimate
    nodes: Tensor
    slopes: Tensor
    steps: Tensor


def log_z_of_trap(system: PairPotential) -> float:
    """ln Z of particles that feel only the trap. Raises ConfigError without one."""
    if system.trap <= 0:
        raise ConfigError("a path needs a trap, which holds the particles where they do not see each other.")
    d = degrees_of_freedom(system.points, system.dimensions)
    return 0.5 * d * (LOG_TWO_PI - math.log(system.trap))


def free_particles(system: PairPotential, count: int, source: torch.Generator) -> Tensor:
    """Exact draws `[count, n, d]` of particles that feel only the trap."""
    shape = (count, system.points, system.dimensions)
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    return remove_mean(noise) / math.sqrt(system.trap)


def at_strength(system: PairPotential, path: MakePath, s: float, count: int) -> PairPotential:
    """The system at one place of the path, for `count` chains."""
    return replace(system, pair=path(torch.full((count, 1), s, dtype=torch.float64)))


def integrate(
    system: PairPotential, path: MakePath, source: torch.Generator,
    *, backward: bool = False,
    nodes: int = 24, chains: int = 128, tuning: int = 100, sweeps: int = 200, leapfrog: int = 10,
) -> Integrated:  # fmt: skip
    """Thermodynamic integration, d ln Z / ds = -<dE/ds>, at the nodes of Gauss and Legendre.

    Every chain walks the whole path, node by node, and gives an integral of its own; the error is that of the
    mean over the chains, which do not know of each other. `backward` walks from the full system to the free one.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)
    strengths, weights = (places + 1) / 2, weights / 2
    if backward:
        strengths, weights = strengths[::-1].copy(), weights[::-1]
    first = at_strength(system, path, float(strengths[0]), chains)
    begin = free_particles(system, chains, source)
    walkers = Chains.start(first, relaxed(first, begin) if backward else begin, 0.02 if backward else 0.05)
    if backward:  # far from equilibrium at first
        walkers.tune(first, leapfrog, 3 * tuning, source)
    total = torch.zeros(chains, dtype=torch.float64)
    slopes, steps = [], []
    for s, weight in zip(strengths.tolist(), weights.tolist(), strict=True):
        target = at_strength(system, path, s, chains)
        walkers.retarget(target)
        walkers.tune(target, leapfrog, tuning, source)
        change = path(torch.full((chains, 1), s, dtype=torch.float64)).derivative
        mean = torch.zeros(chains, dtype=torch.float64)
        for _ in range(sweeps):
            walkers.sweep(target, leapfrog, source)
            mean += change(squared_distances(walkers.x)).sum(-1) / sweeps
        total -= weight * mean
        slopes.append(mean.mean())
        steps.append(walkers.step.mean())
    value = log_z_of_trap(system) + float(total.mean())
    error = float(total.std() / math.sqrt(chains))
    return Integrated(
        Estimate(value, error), torch.tensor(strengths), torch.stack(slopes), torch.stack(steps)
    )


def anneal(
    system: PairPotential, path: MakePath, start: Tensor, schedule: Sequence[float], steps: Sequence[float],
    source: torch.Generator, *, leapfrog: int = 5,
) -> Tensor:  # fmt: skip
    """Work done on every configuration of `start` `[b, n, d]`, in equilibrium at `schedule[0]`, as the path is
    walked in the order of `schedule`, one trajectory of step size `steps[k]` at every place: `[b]`.
    """
    b = len(start)
    walkers = Chains.start(at_strength(system, path, schedule[0], b), start, steps[0])
    work = torch.zeros(b, dtype=torch.float64)
    for s, step in zip(schedule[1:], steps[1:], strict=True):
        target = at_strength(system, path, s, b)
        before = walkers.energy
        walkers.retarget(target)
        work += walkers.energy - before
        walkers.step = torch.full((b,), step, dtype=torch.float64)
        walkers.sweep(target, leapfrog, source)
    return work


def bennett(forward: Tensor, backward: Tensor, *, resamples: int = 200, seed: int = 0) -> Estimate:
    """The difference -ln Z(end) + ln Z(start) from the work `[f]` done forward and `[b]` done backward.

    Bennett's acceptance ratio for work (Crooks, cond-mat/9912438; Shirts et al., 2003); the error by bootstrap.
    """

    def solve(f: Tensor, b: Tensor) -> float:
        shift = math.log(len(f) / len(b))

        def excess(difference: float) -> float:
            left = torch.sigmoid(-(shift + f - difference)).sum()
            right = torch.sigmoid(shift - b - difference).sum()
            return float(left - right)

        ends = torch.cat([f, -b])
        return float(brentq(excess, float(ends.min()) - 50, float(ends.max()) + 50))

    draws = np.random.default_rng(seed)
    again = [
        solve(
            forward[torch.from_numpy(draws.integers(len(forward), size=len(forward)))],
            backward[torch.from_numpy(draws.integers(len(backward), size=len(backward)))],
        )
        for _ in range(resamples)
    ]
    return Estimate(solve(forward, backward), float(np.std(again, ddof=1)))
