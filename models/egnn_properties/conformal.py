"""Intervals with a coverage that is measured, not assumed: split conformal prediction with predicted error scales.

The score of a held-out molecule is |y - prediction| / scale. An interval prediction +- q scale, with q the right
quantile of n scores, covers a new molecule of the same kind with the wanted probability, whatever the network's
faults (Papadopoulos et al., 2002; Lei et al., 2018). For molecules of another kind nothing is promised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.errors import CheckpointError, ConfigError

COVERAGES = (0.5, 0.8, 0.9, 0.95, 0.99)


def conformal_quantile(scores: NDArray[np.float64], coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n scores. Raises ConfigError when n is too small for it.

    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9)
    9.0
    """
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        raise ConfigError(f"{len(scores)} held-out molecules are too few for a coverage of {coverage}.")
    return float(np.partition(scores, rank - 1)[rank - 1])


def quantiles(scores: NDArray[np.float64], coverages: Sequence[float] = COVERAGES) -> dict[str, float]:
    """Quantiles for a card, by coverage."""
    return {str(coverage): conformal_quantile(scores, coverage) for coverage in coverages}


def half_width(table: Mapping[str, Any], coverage: float) -> float:
    """The stored quantile of a coverage. Raises CheckpointError for one that was not calibrated."""
    try:
        return float(table[str(coverage)])
    except KeyError:
        known = ", ".join(sorted(table))
        raise CheckpointError(f"intervals are calibrated for coverages {known}, not {coverage}.") from None
