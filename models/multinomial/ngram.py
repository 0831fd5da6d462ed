"""An n-gram model of token strings with interpolated back-off: the cheap likelihood beside the diffusion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

Context = tuple[int, ...]


class NGram:
    """p(token | the `order` - 1 before it), interpolated with every shorter context (Witten and Bell, 1991).

    An end token closes every string, so that the model is a density over whole strings.
    """

    def __init__(self, order: int, classes: int) -> None:
        self.order, self.classes = order, classes
        self.end, self.start = classes, -1
        self.counts: Counter[Context] = Counter()  # of n-grams
        self.totals: Counter[Context] = Counter()  # of contexts
        self.kinds: Counter[Context] = Counter()  # different tokens behind a context

    def fit(self, strings: Iterable[Sequence[int]]) -> None:
        """Count strings; may be called again with more."""
        for tokens in strings:
            padded = [self.start] * (self.order - 1) + list(tokens) + [self.end]
            for place in range(self.order - 1, len(padded)):
                for reach in range(self.order):
                    context = tuple(padded[place - reach : place])
                    gram = (*context, padded[place])
                    if not self.counts[gram]:
                        self.kinds[context] += 1
                    self.counts[gram] += 1
                    self.totals[context] += 1

    def log_prob(self, tokens: Sequence[int]) -> float:
        """log p of a whole string in nats."""
        padded = [self.start] * (self.order - 1) + list(tokens) + [self.end]
        total = 0.0
        for place in range(self.order - 1, len(padded)):
            p = 1.0 / (self.classes + 1)
            for reach in range(self.order):
                context = tuple(padded[place - reach : place])
                seen = self.totals.get(context, 0)
                if not seen:
                    break
                kinds = self.kinds[context]
                p = (self.counts.get((*context, padded[place]), 0) + kinds * p) / (seen + kinds)
            total += math.log(p)
        return total
