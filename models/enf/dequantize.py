"""Discrete elements as continuous features: distributions q(h | elements) whose support decodes back to them.

Then log p(x, elements) >= E_q[log p(x, h) - log q(h)], and a draw from q is an unbiased estimate of that bound.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.centered import LOG_TWO_PI
from models.core.errors import ConfigError
from models.core.thresholds import squeezed_below
from models.edm.features import AtomFeatures
from models.egnn.config import EGNNConfig
from models.egnn.network import EGNN


class Dequantizer(Protocol):
    """A distribution of features given elements and positions."""

    @property
    def channels(self) -> int:
        """Feature channels of an atom."""

    def __call__(self, numbers: Tensor, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[b, n, c]` and log q `[b]` in nats from standard normal `noise` `[b, n, c]`."""

    def decode(self, h: Tensor) -> Tensor:
        """Features back to atomic numbers `[b, n]`: the largest type channel."""


def normal_log_prob(noise: Tensor) -> Tensor:
    """log density of standard normal noise `[b, n, c]`: `[b]`."""
    return (-0.5 * noise.square() - 0.5 * LOG_TWO_PI).sum((-1, -2))


class GaussianDequantizer(nn.Module):
    """One-hot elements of height `scale` with Gaussian noise of size `spread`, kept where the element is the largest.

    The cut is counted exactly. It hardly matters for narrow noise, and neither does the gap of the bound: the
    noise tells nothing of the molecule and a flow can learn to remove it.
    """

    def __init__(self, features: AtomFeatures, scale: float, spread: float) -> None:
        super().__init__()
        if spread <= 0 or scale <= 0:
            raise ConfigError(f"type_scale and type_spread must be positive, but are {scale} and {spread}.")
        self.features, self.scale, self.spread = features, scale, spread
        self.log_kept = float(np.log(share_kept(scale / spread, len(features.elements) - 1)))

    @property
    def channels(self) -> int:
        return len(self.features.elements)

    def __call__(self, numbers: Tensor, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        types = self.features.types(numbers)
        h = F.one_hot(types, self.channels) * self.scale + self.spread * noise
        cut = normal_log_prob(noise) - noise[0].numel() * float(np.log(self.spread))
        return h, cut - numbers.shape[1] * self.log_kept

    def keeps(self, numbers: Tensor, noise: Tensor) -> Tensor:
        """Whether all elements of a molecule survive its noise, `[b]`; other noise is to be drawn again."""
        h = F.one_hot(self.features.types(numbers), self.channels) * self.scale + self.spread * noise
        return (self.decode(h) == numbers).all(-1)

    def decode(self, h: Tensor) -> Tensor:
        return self.features.decode(h)


def share_kept(height: float, others: int) -> float:
    """P(height + e_0 > e_k for k = 1..others) of independent standard normal e, by quadrature.

    >>> round(share_kept(0.0, 4), 12)
    0.2
    """
    e = np.linspace(-12.0, 12.0, 4801)
    density = np.exp(-0.5 * e**2) / np.sqrt(2 * np.pi)
    below = torch.special.ndtr(torch.from_numpy(height + e)).numpy() ** others
    return float((density * below).sum() * (e[1] - e[0]))


class ArgmaxDequantizer(nn.Module):
    """The published one: noise whose mean and size a network reads from the molecule, thresholded at the element.

    Types (argmax flows, arXiv 2102.05379): u at the element is kept, T; every other becomes T - softplus(T - u),
    so the element is always the largest. The atomic number Z, if it is a channel, becomes Z + sigmoid(u).
    """

    def __init__(self, features: AtomFeatures, network: EGNNConfig) -> None:
        super().__init__()
        self.features = features
        if (network.inputs, network.outputs) != (self.channels, 2 * self.channels):
            raise ConfigError(
                f"a dequantizer of {self.channels} channels needs a network of {self.channels} inputs and "
                f"{2 * self.channels} outputs, but has {network.inputs} and {network.outputs}."
            )
        self.network = EGNN(network)

    @property
    def channels(self) -> int:
        return self.features.channels

    def __call__(self, numbers: Tensor, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        count = len(self.features.elements)
        types = self.features.types(numbers)
        raw = F.one_hot(types, count).to(x.dtype)
        if self.channels > count:
            raw = torch.cat([raw, numbers[..., None].to(x.dtype)], -1)
        mean, log_size = self.network(raw, x)[0].chunk(2, -1)
        u = mean + log_size.exp() * noise
        log_q = normal_log_prob(noise) - log_size.sum((-1, -2))
        true = F.one_hot(types, count).bool()
        top = u[..., :count].masked_select(true).view(*numbers.shape, 1)
        below, slope = squeezed_below(u[..., :count], top)
        h = torch.where(true, top, below)
        log_q = log_q - slope.masked_fill(true, 0.0).sum((-1, -2))
        if self.channels == count:
            return h, log_q
        last = u[..., count:]
        log_q = log_q - (F.logsigmoid(last) + F.logsigmoid(-last)).sum((-1, -2))
        return torch.cat([h, numbers[..., None] + torch.sigmoid(last)], -1), log_q

    def keeps(self, numbers: Tensor, noise: Tensor) -> Tensor:  # noqa: ARG002
        """All noise is good: the thresholds see to that."""
        return torch.ones(len(numbers), dtype=torch.bool, device=numbers.device)

    def decode(self, h: Tensor) -> Tensor:
        return self.features.decode(h)
