"""p(N): how many atoms a molecule has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from models.core.errors import ConfigError
from models.core.random import generator


class SizeDistribution:
    """The histogram of molecule sizes of the training data."""

    def __init__(self, counts: Mapping[int, int]) -> None:
        if not counts or min(counts.values()) < 0 or sum(counts.values()) == 0:
            raise ConfigError("a size distribution needs at least one molecule.")
        self.counts = {int(n): int(c) for n, c in sorted(counts.items()) if c}
        self.total = sum(self.counts.values())

    @property
    def minimum(self) -> int:
        """Smallest size seen."""
        return min(self.counts)

    @property
    def maximum(self) -> int:
        """Largest size seen."""
        return max(self.counts)

    def draw(self, seeds: Sequence[int], minimum: int | None = None, maximum: int | None = None) -> list[int]:
        """One size per molecule seed, optionally restricted to minimum..maximum.

        Raises ConfigError when no training molecule has a size in that range.
        """
        allowed = {
            n: c
            for n, c in self.counts.items()
            if (minimum is None or n >= minimum) and (maximum is None or n <= maximum)
        }
        if not allowed:
            raise ConfigError(
                f"no training molecule has between {minimum} and {maximum} atoms; "
                f"sizes run from {self.minimum} to {self.maximum}."
            )
        sizes = list(allowed)
        weights = torch.tensor([float(allowed[n]) for n in sizes], dtype=torch.float64)
        edges = weights.cumsum(0) / weights.sum()
        draws = [torch.rand((), generator=generator(seed, "size"), dtype=torch.float64) for seed in seeds]
        return [sizes[min(int(torch.searchsorted(edges, u, right=True)), len(sizes) - 1)] for u in draws]

    def log_prob(self, n_atoms: int) -> float:
        """log p(N) in nats; minus infinity for a size that the data does not have."""
        count = self.counts.get(n_atoms, 0)
        return math.log(count / self.total) if count else -math.inf
