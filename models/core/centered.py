"""Gaussians on the subspace of zero center of mass.

n points in space whose mean is zero live in 3(n-1) dimensions, so every constant counts n-1 points, not n
(EDM, arXiv 2203.17003, section 3.1; E-NF, arXiv 2105.09016, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from models.core.errors import ShapeError
from models.core.random import stacked_normal

LOG_TWO_PI = math.log(2 * math.pi)


def remove_mean(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Positions `[..., n, 3]` with their mean over n removed; `mask` `[..., n, 1]` marks real points with 1."""
    if mask is None:
        return x - x.mean(-2, keepdim=True)
    return (x - (x * mask).sum(-2, keepdim=True) / mask.sum(-2, keepdim=True)) * mask


def degrees_of_freedom(n_points: int, dimensions: int = 3) -> int:
    """Dimensions of the centered subspace: `dimensions * (n_points - 1)`."""
    return dimensions * (n_points - 1)


def centered_normal(
    generators: Sequence[torch.Generator],
    n_points: int,
    *,
    dtype: torch.dtype = torch.float32,
    dimensions: int = 3,
) -> Tensor:
    """Standard normal noise of zero mean, `[len(generators), n_points, dimensions]`, one generator a molecule."""
    return remove_mean(stacked_normal(generators, (n_points, dimensions), dtype=dtype))


def centered_normal_log_prob(x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Log density of N(0, scale^2) on the centered subspace, in nats: `[..., n, d]` to `[...]`.

    `x` must have zero mean over n; the base measure is Lebesgue measure on the d(n-1)-dimensional subspace.
    """
    if x.dim() < 2:
        raise ShapeError("x", x.shape, "[..., points, dimensions]")
    d = degrees_of_freedom(x.shape[-2], x.shape[-1])
    scale = torch.as_tensor(scale, dtype=x.dtype, device=x.device)
    return -0.5 * (x / scale[..., None, None]).square().sum((-1, -2)) - d * (scale.log() + 0.5 * LOG_TWO_PI)
