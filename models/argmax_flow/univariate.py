"""Increasing maps of single numbers, whose parameters a network gives: affine, and rational-quadratic splines."""

from __future__ import annotations

from typing import Any

import torch
import zuko
from torch import Tensor

from models.core.errors import ConfigError

MOST = 5.0
"""Bound of log-scales."""


class Univariate:
    """z = (spline(v) - shift) exp(-log_scale); without bins there is no spline.

    All parameters zero are the identity. bound: the spline moves -bound..bound within itself and nothing outside.
    """

    def __init__(self, bins: int = 0, bound: float = 6.0) -> None:
        if bins < 0 or bins == 1 or bound <= 0:
            raise ConfigError(
                f"bins is {bins} and bound is {bound}; take 0, or 2 and more, and a positive bound."
            )
        self.bins, self.bound = bins, bound
        self.size = 2 + (3 * bins - 1 if bins else 0)
        """Parameters of one number."""

    def forward(self, v: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """z and log dz/dv of `v` `[...]` with parameters `[..., size]`."""
        shift, log_scale = _affine(p)
        slope = torch.zeros_like(v)
        if self.bins:
            v, slope = self._spline(p).call_and_ladj(v)
        return (v - shift) * torch.exp(-log_scale), slope - log_scale

    def inverse(self, z: Tensor, p: Tensor) -> Tensor:
        """v of z."""
        shift, log_scale = _affine(p)
        v: Tensor = z * log_scale.exp() + shift
        return self._spline(p).inv(v) if self.bins else v

    def _spline(self, p: Tensor) -> Any:
        parts = torch.split(p[..., 2:], [self.bins, self.bins, self.bins - 1], -1)
        return zuko.transforms.MonotonicRQSTransform(*parts, bound=self.bound)


def _affine(p: Tensor) -> tuple[Tensor, Tensor]:
    return p[..., 0], MOST * torch.tanh(p[..., 1] / MOST)
