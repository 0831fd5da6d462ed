"""log|det A| from samples: plain Monte Carlo, the variational bound, and the importance-weighted estimate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.random import generator as derived_generator
from models.vde.errors import FewEffectiveSamplesError
from models.vde.results import LogDeterminant

FLOOR = 50.0
"""Effective samples below which no estimate is given: its standard error would itself be unknown."""

BLOCKS = 1000
RESAMPLES = 1000


def effective_samples(log_weights: Tensor) -> float:
    """(sum w)^2 / sum w^2, from 1 to the number of samples."""
    return float((2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp())


def bound(log_weights: Tensor, *, power: int = 1, matvecs: int = 0) -> LogDeterminant:
    """E[-log w], an upper bound on log|det A| in expectation (Jensen), tight when all weights are equal.

    `power` is that of models.vde.weights. A single run may lie below the truth by a few standard errors.
    """
    values = -power * log_weights
    m = len(values)
    value = float(values.mean())
    error = float(values.std()) / math.sqrt(m) if m > 1 else math.inf
    low, high = value - 1.96 * error, value + 1.96 * error
    return LogDeterminant(value, "upper_bound", error, low, high, matvecs, m, effective_samples(log_weights))


def importance(
    log_weights: Tensor, *, power: int = 1, matvecs: int = 0, floor: float = FLOOR, seed: int = 0
) -> LogDeterminant:
    """-log mean w: consistent, but too high on average (1/|det A| is unbiased, its logarithm is not).

    The standard error is the delta method's, the interval a percentile bootstrap's. Raises
    FewEffectiveSamplesError when fewer than `floor` effective samples carry the mean.
    """
    m = len(log_weights)
    if m < 2:
        raise ConfigError(f"{m} samples were given; an estimate needs at least 2.")
    effective = effective_samples(log_weights)
    if effective < floor:
        raise FewEffectiveSamplesError(effective, floor, m)
    value = -power * (float(log_weights.logsumexp(0)) - math.log(m))
    # var(w)/mean(w)^2 = m/ess - 1, up to the factor m/(m-1)
    error = power * math.sqrt(max(m / effective - 1, 0.0) / (m - 1))
    low, high = _bootstrap(log_weights, power, seed)
    return LogDeterminant(value, "estimate", error, low, high, matvecs, m, effective)


def _bootstrap(log_weights: Tensor, power: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval; many samples are first averaged in blocks, which are then resampled."""
    m = len(log_weights)
    top = log_weights.max()
    weights = (log_weights - top).exp()
    if m > BLOCKS:
        whole = m // BLOCKS * BLOCKS
        weights = weights[:whole].reshape(BLOCKS, -1).mean(1)
    source = derived_generator(seed, "bootstrap")
    draws = torch.randint(len(weights), (RESAMPLES, len(weights)), generator=source)
    means = weights[draws].mean(1)
    values = -power * (means.log() + top)
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high
