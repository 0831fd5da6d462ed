"""The sphere S^(n-1) in n dimensions: uniform points, area, and its unfolding onto a cylinder.

Every point has one angle (of its first two coordinates) and n-2 heights, x_k over the length of (x_1..x_k): the
unfolding of S^(n-1) to S^1 times [-1, 1]^(n-2), step by step (Rezende et al., arXiv 2002.02428, section 2.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HIGHEST = 1 - 2**-52
"""Heights end one rounding step before the poles, where the unfolding is singular."""


def uniform(samples: int, size: int, generator: torch.Generator) -> Tensor:
    """Points drawn uniformly from the sphere, `[samples, size]` in float64."""
    x = torch.randn(samples, size, generator=generator, dtype=torch.float64)
    length: Tensor = x.norm(dim=1, keepdim=True)
    return x / length


def log_area(size: int) -> float:
    """Log of the area of the unit sphere in `size` dimensions.

    >>> round(math.exp(log_area(3)) / math.pi, 12)
    4.0
    """
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def to_cylinder(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Angle `[b]` in [0, 2 pi), heights `[b, n-2]`, and log(d area / d(angle, heights)) `[b]`.

    The radii come from sums of squares, so nothing small is divided by.
    """
    squares = s.square().cumsum(1)
    angle = torch.atan2(s[:, 1], s[:, 0]).remainder(2 * math.pi)
    heights = s[:, 2:] / squares[:, 2:].sqrt()
    logs = squares[:, 1:].log()
    return angle, heights, (_exponents(heights) * (logs[:, :-1] - logs[:, 1:])).sum(1)


def from_cylinder(angle: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
    """The point `[b, n]` of an angle and heights, and log(d area / d(angle, heights)) `[b]`."""
    heights = heights.clamp(-HIGHEST, HIGHEST)
    squares = (1 - heights) * (1 + heights)
    # radius of (x_1..x_k) for k = 2..n: the product of all later sqrt(1 - height^2)
    radii = squares.flip(1).cumprod(1).flip(1).sqrt()
    radii = torch.cat([radii, torch.ones_like(angle)[:, None]], 1)
    circle = torch.stack([angle.cos(), angle.sin()], 1) * radii[:, :1]
    return torch.cat([circle, heights * radii[:, 1:]], 1), (_exponents(heights) * squares.log()).sum(1)


def _exponents(heights: Tensor) -> Tensor:
    """On S^(k-1) the area is d(angle) d(heights) times the product of (1 - h_k^2)^((k-3)/2), k = 3..n."""
    exponents: Tensor = 0.5 * torch.arange(heights.shape[1], dtype=heights.dtype)
    return exponents


def tangent_basis(s: Tensor) -> Tensor:
    """An orthonormal basis of the tangent space at one point `[n]`: `[n, n-1]`."""
    reflected = torch.linalg.qr(torch.cat([s[:, None], torch.eye(len(s), dtype=s.dtype)], 1))[0]
    basis: Tensor = reflected[:, 1:]
    return basis
