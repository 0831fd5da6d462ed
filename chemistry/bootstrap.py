"""Intervals for ratios of sums by resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A measured value with its interval; `n` is how many items the value is a fraction of.

    With n = 0 nothing is known: value 0, interval 0 to 1.
    """

    value: float
    low: float
    high: float
    n: int


def ratio_interval(
    above: NDArray[np.floating],
    below: NDArray[np.floating],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """sum(above) / sum(below) with the percentile interval of resampling the items; both arrays [n].

    >>> ratio_interval(np.ones(3), np.ones(3))
    Interval(value=1.0, low=1.0, high=1.0, n=3)
    """
    total = float(below.sum())
    if total == 0:
        return Interval(0.0, 0.0, 1.0, 0)
    # Equal items are drawn alike, so only how many of each kind are drawn has to be simulated.
    kinds, counts = np.unique(np.stack([above, below], axis=1), axis=0, return_counts=True)
    n = len(above)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    sums = draws @ kinds.astype(np.float64)
    # A resample may draw only items that count nothing below; it says nothing.
    sums = sums[sums[:, 1] > 0]
    tail = (1 - level) / 2
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return Interval(float(above.sum()) / total, float(low), float(high), round(total))
