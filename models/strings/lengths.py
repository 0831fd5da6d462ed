"""p(n): how many tokens a string has. With p(x | n) it makes a density over whole strings, without padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.random import generator


class Lengths:
    """The histogram of lengths in the training data, each length from 1 to `longest` counted half a time more.

    No length is impossible, so every string of known tokens has a finite likelihood; longer ones have none.
    """

    def __init__(self, counts: Mapping[int | str, int], longest: int) -> None:
        seen = {int(n): int(c) for n, c in counts.items()}
        if not seen or min(seen) < 1 or max(seen) > longest:
            raise ConfigError(f"lengths must lie in 1..{longest}, but the data has {sorted(seen)}.")
        self.longest = longest
        weights = torch.full((longest,), 0.5, dtype=torch.float64)
        for n, count in seen.items():
            weights[n - 1] += count
        self.log_probabilities = (weights / weights.sum()).log()

    @property
    def entropy(self) -> float:
        """In nats."""
        return float(-(self.log_probabilities.exp() * self.log_probabilities).sum())

    def log_prob(self, n: int) -> float:
        """log p(n) in nats; minus infinity outside 1..longest."""
        return float(self.log_probabilities[n - 1]) if 1 <= n <= self.longest else -math.inf

    def draw(self, seeds: Sequence[int], shortest: int = 1, longest: int | None = None) -> list[int]:
        """One length per seed, if asked for between two bounds. Raises ConfigError for an empty range."""
        longest = min(longest or self.longest, self.longest)
        shortest = max(shortest, 1)
        if shortest > longest:
            raise ConfigError(f"no length lies in {shortest}..{longest}; the model knows 1..{self.longest}.")
        edges = self.log_probabilities[shortest - 1 : longest].exp().cumsum(0)
        draws = [torch.rand((), generator=generator(seed, "length"), dtype=torch.float64) for seed in seeds]
        found = [int(torch.searchsorted(edges, u * edges[-1], right=True)) for u in draws]
        return [shortest + min(k, longest - shortest) for k in found]


def by_length(lengths: Sequence[int], most: int, cells: int = 8192) -> list[list[int]]:
    """Indices cut into batches of equal length: at most `most` strings and about `cells` tokens each, which stay in
    a processor's cache.
    """
    groups: dict[int, list[int]] = {}
    for index, n in enumerate(lengths):
        groups.setdefault(n, []).append(index)
    out: list[list[int]] = []
    for n, indices in sorted(groups.items()):
        size = max(1, min(most, cells // max(n, 1)))
        out += [indices[start : start + size] for start in range(0, len(indices), size)]
    return out


def stacked(strings: Sequence[Sequence[int]]) -> Tensor:
    """Token ids of strings of one length, `[b, n]` int64."""
    return torch.tensor(strings, dtype=torch.int64)
