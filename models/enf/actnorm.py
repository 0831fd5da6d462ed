"""Scales and shifts in front of the flow, so that the field sees numbers of about unit size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.core.centered import degrees_of_freedom
from models.core.errors import ConfigError

Jacobian = Literal["corrected", "published"]


class ActNorm(nn.Module):
    """x / exp(x_log_s) with one scale for space, (h - h_t) / exp(h_log_s) for each feature channel.

    The published code counts the scale of x in 3N dimensions though centered positions have 3(N-1), which makes
    every molecule less likely by the constant 3 x_log_s; `jacobian` is "corrected" or, for comparison with the
    paper's table, "published".
    """

    def __init__(self, channels: int, *, scale: float = 1.0, jacobian: Jacobian = "corrected") -> None:
        super().__init__()
        if jacobian not in ("corrected", "published"):
            raise ConfigError(f"jacobian is {jacobian!r}; choose 'corrected' or 'published'.")
        if scale <= 0:
            raise ConfigError(f"coordinate_scale is {scale}, but must be positive.")
        self.jacobian = jacobian
        self.x_log_s = nn.Parameter(torch.tensor(scale).log())
        self.h_t = nn.Parameter(torch.zeros(channels))
        self.h_log_s = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled positions, features, and the log determinant, one number for all molecules of this size."""
        n, d = x.shape[-2:]
        dimensions = degrees_of_freedom(n, d) if self.jacobian == "corrected" else n * d
        log_det = -(dimensions * self.x_log_s.double() + n * self.h_log_s.double().sum())
        return x / self.x_log_s.exp(), (h - self.h_t) / self.h_log_s.exp(), log_det

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Back to Angstrom and to the dequantized features."""
        return x * self.x_log_s.exp(), h * self.h_log_s.exp() + self.h_t
