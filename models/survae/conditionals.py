"""Simple distributions of one value given another, of which surjections are made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.survae.contract import Noise


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with SiLU between them; the last one starts at zero."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    last = nn.Linear(inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def normal_log_prob(x: Tensor) -> Tensor:
    """Log-density of standard normal numbers, one by one."""
    return -0.5 * (x * x + math.log(2 * math.pi))


class ConditionalNormal(nn.Module):
    """Independent normals `[b, size]` whose means and scales are a network of the given value `[b, given]`."""

    def __init__(self, given: int, size: int, hidden: Sequence[int] = (32,)) -> None:
        super().__init__()
        self.size = size
        self.network = mlp(given, hidden, 2 * size)

    def parameters_of(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales."""
        mean, log_scale = self.network(given).chunk(2, -1)
        return mean, log_scale.clamp(-7, 7)

    def log_prob(self, value: Tensor, given: Tensor) -> Tensor:
        """Log-density `[b]` of `value` given `given`."""
        mean, log_scale = self.parameters_of(given)
        return (normal_log_prob((value - mean) * torch.exp(-log_scale)) - log_scale).sum(-1)

    def sample(self, given: Tensor, noise: Noise) -> Tensor:
        """A draw `[b, size]`."""
        mean, log_scale = self.parameters_of(given)
        return mean + log_scale.exp() * noise.normal(given, (self.size,))


class StandardNormal(nn.Module):
    """The usual base density, of values of any shape."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density `[b]`."""
        return normal_log_prob(z).flatten(1).sum(1)

    def sample(self, like: Tensor, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draws `[b, *shape]`."""
        return noise.normal(like, shape)
