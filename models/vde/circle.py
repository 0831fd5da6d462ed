"""Bijections of the circle by angle: mixtures of Moebius maps, and circular splines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.vde.splines import Spline

TURN = 2 * math.pi
_BISECTIONS = 60
LARGEST = 0.99
"""Centers stay this far inside the disk, so that no density reaches beyond float64's comfort."""


class Moebius:
    """A weighted mean of Moebius maps of the circle (Rezende et al., arXiv 2002.02428, section 2.1.1), then a turn.

    `centers` `[b, k, 2]` and `weights` `[b, k]` are unconstrained; `turn` is an angle `[b]`.
    """

    def __init__(self, centers: Tensor, weights: Tensor, turn: Tensor) -> None:
        self.centers = LARGEST * centers / (1 + centers.square().sum(-1, keepdim=True)).sqrt()
        self.weights = weights.softmax(-1)
        self.turn = turn

    @staticmethod
    def parameters(centers: int) -> int:
        """How many numbers describe a map with so many centers."""
        return 3 * centers + 1

    @classmethod
    def from_parameters(cls, values: Tensor) -> Moebius:
        """From `[b, 3k + 1]` numbers; all zero is the identity."""
        k = (values.shape[1] - 1) // 3
        return cls(values[:, : 2 * k].reshape(-1, k, 2), values[:, 2 * k : 3 * k], values[:, -1])

    def forward(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """New angles and the log-derivatives, `[b]` each."""
        moved, slope = self._mean(angle)
        return (moved + self.turn).remainder(TURN), slope.log()

    def inverse(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """The angle that `forward` took here, by bisection to rounding error, and the inverse's log-derivative."""
        target = (angle - self.turn).remainder(TURN)
        low, high = torch.zeros_like(target), torch.full_like(target, TURN)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self._mean(middle)[0] < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        found = 0.5 * (low + high)
        return found, -self._mean(found)[1].log()

    def _mean(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """(z - w)/(1 - conj(w) z), turned so that 1 stays, has the angle t - 2 arg((1 - conj(w) z)/(1 - conj(w))).

        Both arguments lie in (-pi/2, pi/2), so the angle is smooth and rises from 0 to 2 pi.
        """
        u, v = self.centers.unbind(-1)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        real, imaginary = 1 - u * cos - v * sin, v * cos - u * sin
        shift = torch.atan2(imaginary, real) - torch.atan2(v, 1 - u)
        slope = (1 - u.square() - v.square()) / (real.square() + imaginary.square())
        return angle - 2 * (self.weights * shift).sum(1), (self.weights * slope).sum(1)


class CircularSpline:
    """A rational-quadratic spline of [0, 2 pi] with equal slopes at both ends, then a turn (same paper, 2.1.2)."""

    def __init__(self, spline: Spline, turn: Tensor) -> None:
        self.spline, self.turn = spline, turn

    @staticmethod
    def parameters(bins: int) -> int:
        """How many numbers describe a spline of so many bins."""
        return 3 * bins + 1

    @classmethod
    def from_parameters(cls, values: Tensor) -> CircularSpline:
        """From `[b, 3k + 1]` numbers; all zero is the identity."""
        k = (values.shape[1] - 1) // 3
        slopes = torch.cat([values[:, 2 * k : 3 * k], values[:, 2 * k : 2 * k + 1]], 1)
        return cls(Spline(values[:, :k], values[:, k : 2 * k], slopes, bound=math.pi), values[:, -1])

    def forward(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """New angles and the log-derivatives, `[b]` each."""
        moved, slope = self.spline.forward(angle - math.pi)
        return (moved + math.pi + self.turn).remainder(TURN), slope

    def inverse(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """The angle that `forward` took here, and the inverse's log-derivative."""
        found, slope = self.spline.inverse((angle - self.turn).remainder(TURN) - math.pi)
        return found + math.pi, slope
