"""A noise schedule that is trained with the bound (VDM, arXiv 2107.00630; EDM's learned schedule)."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.edm.process import Tabulated


class LearnedGamma(nn.Module):
    """A monotone network for gamma(t), and its present table of `steps` steps for sampling and scoring."""

    def __init__(self, gamma_0: float = -5.0, gamma_1: float = 10.0, steps: int = 1000) -> None:
        super().__init__()
        if not gamma_0 < gamma_1 or steps < 1:
            raise ConfigError(
                "a learned schedule needs gamma_0 < gamma_1 and steps >= 1, but they are "
                f"{gamma_0}, {gamma_1}, {steps}."
            )
        self.steps = steps
        self.weights = nn.ParameterList(
            [
                nn.Parameter(torch.randn(out, into) / math.sqrt(into) - 2.0)
                for into, out in ((1, 1), (1, 1024), (1024, 1))
            ]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(out)) for out in (1, 1024, 1)])
        self.gamma_0 = nn.Parameter(torch.tensor(gamma_0))
        self.gamma_1 = nn.Parameter(torch.tensor(gamma_1))
        self._made: tuple[tuple[int, ...], Tabulated] | None = None

    def raw(self, t: Tensor) -> Tensor:
        """An increasing function of t `[b]`, before it is scaled to gamma_0..gamma_1."""
        # In float64: the sum over the hidden units is large and its rise over 0..1 small.
        positive = [F.softplus(weight.double()) for weight in self.weights]
        biases = [bias.double() for bias in self.biases]
        first = F.linear(t.double()[:, None], positive[0], biases[0])
        hidden = torch.sigmoid(F.linear(first, positive[1], biases[1]))
        return (first + F.linear(hidden, positive[2], biases[2]))[:, 0]

    def forward(self, t: Tensor) -> Tensor:
        """gamma at times t `[b]` in 0..1."""
        raw = self.raw(torch.cat([t.new_tensor([0.0, 1.0]), t]))
        low, high = raw[0], raw[1]
        share = (raw[2:] - low) / (high - low)
        return self.gamma_0 + (self.gamma_1 - self.gamma_0) * share.to(t.dtype)

    def train(self, mode: bool = True) -> Self:
        """Training forgets the table."""
        self._made = None
        return super().train(mode)

    def tabulate(self) -> Tabulated:
        """The table of the present gamma; in evaluation made anew only when weights were loaded."""
        # Fused optimizers change parameters without counting a version, so nothing is kept while training.
        version = tuple(parameter._version for parameter in self.parameters())
        if self.training or self._made is None or self._made[0] != version:
            with torch.no_grad(), torch.autocast(self.gamma_0.device.type, enabled=False):
                times = torch.linspace(0, 1, self.steps + 1, device=self.gamma_0.device)
                self._made = (version, Tabulated(self(times).cpu()))
        return self._made[1]
