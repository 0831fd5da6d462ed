"""Whether chains have converged: split R-hat and effective sample size (Vehtari et al., arXiv 1903.08008)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.errors import ShapeError


def split(values: Tensor) -> Tensor:
    """A quantity along chains `[k, b]` as twice as many chains of half the length `[k // 2, 2b]`."""
    if values.dim() != 2 or len(values) < 8:
        raise ShapeError("values", values.shape, "[at least 8 states, chains]")
    half = len(values) // 2
    return torch.cat([values[:half], values[-half:]], 1).double()


def variances(halves: Tensor) -> tuple[Tensor, Tensor]:
    """The mean variance within chains, and the variance of the whole that between-chain spread suggests."""
    n = len(halves)
    within = halves.var(0).mean()
    between = halves.mean(0).var()
    return within, (n - 1) / n * within + between


def split_r_hat(values: Tensor) -> float:
    """Split R-hat of a scalar along chains `[k, b]`; 1 when all halves of all chains tell the same."""
    within, whole = variances(split(values))
    return float((whole / within).sqrt())


def effective_sample_size(values: Tensor) -> float:
    """How many independent draws tell the mean of `[k, b]` as well as the chains do, by Geyer's monotone sequence."""
    halves = split(values)
    n, m = halves.shape
    within, whole = variances(halves)
    centered = halves - halves.mean(0)
    spectrum = torch.fft.rfft(centered, n=2 * n, dim=0).abs().square()
    covariance = torch.fft.irfft(spectrum, n=2 * n, dim=0)[:n] / n
    correlation = 1 - (within - covariance.mean(1) * n / (n - 1)) / whole
    correlation[0] = 1.0
    paired = correlation[: n // 2 * 2].view(-1, 2).sum(1)
    positive = torch.cumprod((paired > 0).double(), 0)
    monotone = torch.cummin(paired, 0).values * positive
    time = float(2 * monotone.sum() - 1)
    return n * m / max(time, 1 / torch.log10(torch.tensor(float(n * m))).item())
