"""Networks in integers: the same numbers on every machine, for any batch and any number of threads.

Weights and activations are rounded to 8 bits. Every product of matrices is a sum of integers below 2^24, which
float32 holds exactly in whatever order it is summed; all else is element by element with +, -, *, / and square
root, which IEEE 754 rounds in one way only, or a table made with decimal arithmetic. So sender and receiver of a
compressed library see the same bits, by construction and not by luck.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError

FINE = 256
"""Steps a nat in tables of output probabilities."""
EXACT = 2**24


def exponentials(top: int, steps: int, size: int) -> Tensor:
    """round(top exp(-i / steps)) for i below size, float64, by decimal arithmetic; at least 0."""
    with localcontext() as context:
        context.prec = 40
        values = [int((top * (Decimal(-i) / steps).exp()).to_integral_value()) for i in range(size)]
    return torch.tensor(values, dtype=torch.float64)


def rounded(x: Tensor, dims: tuple[int, ...], top: int = 127) -> tuple[Tensor, Tensor]:
    """Integers of at most `top` and the scale that they share over `dims`: x is about integers * scale."""
    scale = x.abs().amax(dims, keepdim=True).clamp(min=1e-20) / top
    return (x / scale).round(), scale


class IntegerLinear:
    """A linear layer with one scale for each output."""

    def __init__(self, layer: nn.Linear, *, activation: int = 127) -> None:
        weight = layer.weight.detach().float().cpu()
        if weight.shape[1] * 127 * activation >= EXACT:
            raise ConfigError(f"a layer of {weight.shape[1]} inputs is too wide for exact sums.")
        self.weight, scale = rounded(weight, (1,))
        self.scale = scale[:, 0]
        self.bias = None if layer.bias is None else layer.bias.detach().float().cpu()

    def __call__(self, integers: Tensor, scale: Tensor) -> Tensor:
        """Integers `[..., inputs]` with their scale `[..., 1]` to float32 `[..., outputs]`."""
        out = (integers @ self.weight.T) * (scale * self.scale)
        return out if self.bias is None else out + self.bias


def frequencies(steps: Tensor) -> Tensor:
    """Logits `[..., K]` in whole steps of 1 / FINE to integers (float64, each at least 1) whose shares are the
    probabilities.
    """
    below = (steps.amax(-1, keepdim=True) - steps).clamp(max=len(TABLE) - 1)
    return TABLE[below.long()]


TABLE = exponentials(2**20, FINE, 16 * FINE).clamp(min=1)
