"""Vector fields on points with features, (t, x, h) to (dx/dt, dh/dt), equivariant in any dimension of space.

Time 0 is where the data are, time 1 where the base distribution is, as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.egnn.config import EGNNConfig
from models.egnn.linearized import Push, linearized
from models.egnn.network import EGNN
from models.egnn.pairs import Pairs


class Field(Protocol):
    """What flows need of a vector field."""

    def __call__(self, t: Tensor, x: Tensor, h: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        """Velocities of centered positions `[b, n, d]` and features `[b, n, c]` at times `[b]`.

        The velocity of the positions has zero mean, so that they stay centered.
        """


Linear = tuple[Tensor, Tensor, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]
"""Velocities at a point, and the linear map of directions `[k, b, n, d]` and `[k, b, n, c]` there."""


class TimeFeatures(nn.Module):
    """Time in 0..1 as the network sees it: the number itself, or `pairs` sines and cosines of it."""

    frequencies: Tensor

    def __init__(self, pairs: int) -> None:
        super().__init__()
        self.out = 2 * pairs or 1
        frequencies = torch.exp(torch.linspace(0.0, math.log(100.0), max(pairs, 1)))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor, n: int) -> Tensor:
        """`[b]` to `[b, n, out]`, the same for all points."""
        if self.out == 1:
            return t[:, None, None].expand(-1, n, 1)
        angle = t[:, None] * self.frequencies.to(t.dtype)
        return torch.cat([angle.sin(), angle.cos()], -1)[:, None].expand(-1, n, -1)


class VectorField(nn.Module):
    """An EGNN's displacement of the positions and its output features as velocities.

    The published network (`EGNNConfig.published_enf(features + 1, features + 1)`) sees time as one number;
    `time_pairs` sines and cosines serve our own. The network has `features + 1` outputs, the last of no use.
    """

    def __init__(self, network: EGNNConfig, features: int, *, time_pairs: int = 0) -> None:
        super().__init__()
        self.time = TimeFeatures(time_pairs)
        wanted = (features + self.time.out, features + 1)
        if (network.inputs, network.outputs) != wanted:
            raise ConfigError(
                f"a vector field of {features} features needs {wanted[0]} inputs (features and time) and {wanted[1]} "
                f"outputs, but the network has {network.inputs} and {network.outputs}."
            )
        self.features = features
        self.network = EGNN(network)

    def forward(self, t: Tensor, x: Tensor, h: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        """Velocities at times `[b]` of centered positions `[b, n, d]` and features `[b, n, features]`."""
        out, moved = self.network(torch.cat([h, self.time(t, x.shape[-2])], -1), x, pairs)
        return remove_mean(moved - x), out[..., : self.features]

    def linearized(self, t: Tensor, x: Tensor, h: Tensor) -> Linear:
        """The velocities, and their linear map of directions at that point."""
        out, moved, network = self.network_at(t, x, h)

        def push(dx: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
            d_out, d_moved = network(dh, dx)
            return remove_mean(d_moved - dx), d_out

        return remove_mean(moved - x), out, push

    def network_at(self, t: Tensor, place: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Push]:
        """The network's velocities of the features and its positions, and its linear map of `inputs` and `place`."""
        time = self.time(t, place.shape[-2])
        out, moved, network = linearized(self.network, torch.cat([inputs, time], -1), place)

        def push(d_inputs: Tensor, d_place: Tensor) -> tuple[Tensor, Tensor]:
            still = d_inputs.new_zeros(*d_inputs.shape[:-1], time.shape[-1])
            d_out, d_moved = network(torch.cat([d_inputs, still], -1), d_place)
            return d_out[..., : self.features], d_moved

        return out[..., : self.features], moved, push


class PreconditionedField(VectorField):
    """The field of a straight path between data of unit variance and unit noise, with its linear part taken out.

    On x_t = (1-t) x + t e the best linear guess of e - x is (2t-1) / ((1-t)^2 + t^2) x_t, and what it leaves has
    the variance 1 / ((1-t)^2 + t^2): the network learns a target of unit variance at every t, and the field is
    regular at both ends. (The reasoning of Karras et al., arXiv 2206.00364, applied to this path.)
    """

    def __init__(
        self, network: EGNNConfig, features: int, *, time_pairs: int = 16, position_scale: float = 1.0
    ) -> None:
        super().__init__(network, features, time_pairs=time_pairs)
        self.position_scale = position_scale  # the network's distances, in units of the data's spread

    def forward(self, t: Tensor, x: Tensor, h: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        at = t[:, None, None]
        variance = (1 - at).square() + at.square()
        shrink, keep = torch.rsqrt(variance), (2 * at - 1) / variance
        place = x * shrink * self.position_scale
        inputs = torch.cat([h * shrink, self.time(t, x.shape[-2])], -1)
        out, moved = self.network(inputs, place, pairs)
        dx = keep * x + shrink * (moved - place) / self.position_scale
        return remove_mean(dx), keep * h + shrink * out[..., : self.features]

    def linearized(self, t: Tensor, x: Tensor, h: Tensor) -> Linear:
        at = t[:, None, None]
        variance = (1 - at).square() + at.square()
        shrink, keep = torch.rsqrt(variance), (2 * at - 1) / variance
        place = x * shrink * self.position_scale
        out, moved, network = self.network_at(t, place, h * shrink)

        def combined(
            x: Tensor, h: Tensor, out: Tensor, moved: Tensor, place: Tensor
        ) -> tuple[Tensor, Tensor]:
            velocity = keep * x + shrink * (moved - place) / self.position_scale
            return remove_mean(velocity), keep * h + shrink * out

        def push(dx: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
            d_place = dx * shrink * self.position_scale
            return combined(dx, dh, *network(dh * shrink, d_place), d_place)

        return *combined(x, h, out, moved, place), push
