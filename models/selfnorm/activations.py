"""Elementwise functions with slopes that never vanish."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SmoothLeaky(nn.Module):
    """z = a x + (1 - a) softplus(x): slope a on the left, 1 on the right, all derivatives smooth."""

    def __init__(self, slope: float = 0.3) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the log-determinant `[b]`."""
        z = self.slope * x + (1 - self.slope) * F.softplus(x)
        slope = self.slope + (1 - self.slope) * torch.sigmoid(x)
        return z, slope.log().flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """By Newton's method: the function is convex and its slope lies between a and 1, so it converges always."""
        target = z.double()
        x = torch.where(target > 0, target, target / self.slope)
        for _ in range(60):
            value = self.slope * x + (1 - self.slope) * F.softplus(x)
            step = (value - target) / (self.slope + (1 - self.slope) * torch.sigmoid(x))
            x = x - step
            if bool((step.abs() < 1e-12 * (1 + x.abs())).all()):
                break
        return x.to(z.dtype)
