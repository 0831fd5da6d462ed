"""Rational-quadratic splines on an interval: zuko's, with the slopes at both ends free."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from zuko.transforms import MonotonicRQSTransform

SMALLEST_SLOPE = 1e-3


class Spline:
    """A monotone map of [-bound, bound] onto itself (Durkan et al., arXiv 1906.04032).

    `widths` and `heights` `[..., k]` and `slopes` `[..., k + 1]` are unconstrained; all zero is the identity.
    """

    def __init__(self, widths: Tensor, heights: Tensor, slopes: Tensor, bound: float = 1.0) -> None:
        self._spline = MonotonicRQSTransform(
            widths, heights, slopes[..., 1:-1], bound=bound, slope=SMALLEST_SLOPE
        )
        # zuko fixes both end slopes to one, for splines that go on as lines; an interval ends there.
        soft = slopes / (1 + (slopes / math.log(SMALLEST_SLOPE)).abs())
        self._spline.derivatives = torch.exp(soft)

    @staticmethod
    def parameters(bins: int) -> int:
        """How many numbers describe a spline of so many bins."""
        return 3 * bins + 1

    @classmethod
    def from_parameters(cls, values: Tensor, bound: float = 1.0) -> Spline:
        """From numbers `[..., 3k + 1]`."""
        k = (values.shape[-1] - 1) // 3
        return cls(values[..., :k], values[..., k : 2 * k], values[..., 2 * k :], bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """New values and the log-derivatives, of the shape of `x`."""
        y, log_slope = self._spline.call_and_ladj(x)
        return y, log_slope

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The values that `forward` took here, and the inverse's log-derivatives."""
        x = self._spline.inv(y)
        return x, -self._spline.call_and_ladj(x)[1]
