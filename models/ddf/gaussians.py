"""Eight Gaussians on a grid of 91 x 91: the toy that discrete flows are measured by, with its exact entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CLASSES = 91
SPREAD, LIMIT, SCALE = 0.1, 2.25, 20.0
"""Standard deviation of each Gaussian, the bound that points are cut at, and grid cells a unit."""


def centers() -> Tensor:
    """Eight points on a circle of radius 2, `[8, 2]`."""
    angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    return 2 * torch.stack([angle.cos(), angle.sin()], 1)


def draw(n: int, generator: torch.Generator) -> Tensor:
    """Samples, classes `[n, 2]`."""
    which = torch.randint(8, (n,), generator=generator)
    points = centers()[which] + SPREAD * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return (points.clamp(-LIMIT, LIMIT) * SCALE).round().long() + CLASSES // 2


def probabilities() -> Tensor:
    """The exact probability of every cell, `[91, 91]`."""
    edges = (torch.arange(CLASSES + 1, dtype=torch.float64) - 0.5 - CLASSES // 2) / SCALE
    edges[0], edges[-1] = -math.inf, math.inf  # points beyond the bound are counted at it
    below = torch.special.ndtr((edges[None, None, :] - centers()[:, :, None]) / SPREAD)
    cells = below.diff(dim=-1)
    return torch.einsum("ka,kb->ab", cells[:, 0], cells[:, 1]) / 8


def entropy() -> float:
    """Exact entropy in nats."""
    p = probabilities()
    return -float(torch.special.xlogy(p, p).sum())
