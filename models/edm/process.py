"""Noise processes: z_t = alpha_t x + sigma_t eps.

Everything above works in the variance-exploding frame, z_t / alpha_t = x + s eps with s = sigma_t / alpha_t, in
which all Gaussian processes are one process and differ only in where their noise levels s lie. Internally
gamma = -log SNR = 2 log s, the quantity of VDM and EDM (arXiv 2203.17003, section 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from models.core.errors import ConfigError

HIGHEST_FIRST = 80.0
"""Samplers start no higher: this is far above any molecule, in units of a few Angstrom."""


class Process(Protocol):
    """A range of noise levels, its prior, and the time that the network is told."""

    @property
    def minimum(self) -> float:
        """The lowest noise level, where the decoder takes over."""

    @property
    def maximum(self) -> float:
        """The highest noise level, where the prior stands."""

    @property
    def first(self) -> float:
        """The level at which samplers start; above it a molecule is lost in noise, and steps there are wasted."""

    @property
    def focus(self) -> float | None:
        """The level around which samplers call the network most often; None when all levels are alike in log s."""

    def network_time(self, level: Tensor) -> Tensor:
        """Noise levels s `[b]` to the time in 0..1 that the network sees `[b]`."""

    def grid(self, steps: int) -> Tensor:
        """Noise levels s_0 < ... < s_steps of the process's own discretization, float64 `[steps + 1]`."""


def prior_scale(last: float) -> float:
    """Standard deviation of the prior at the highest noise level, in the variance-exploding frame.

    That of noise on data of about unit variance; for a variance-preserving process it is 1 / alpha_T exactly.
    """
    return math.sqrt(last**2 + 1.0)


@dataclass(frozen=True)
class VarianceExploding:
    """alpha = 1 and s from minimum to maximum, evenly spaced in log s.

    Where given, samplers start at `start` and call the network twice as often around `focus`.
    """

    minimum: float = 0.004
    maximum: float = 20.0
    start: float | None = None
    focus: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.minimum < self.maximum:
            raise ConfigError(
                f"noise levels need 0 < minimum < maximum, but are {self.minimum}, {self.maximum}."
            )
        if self.start is not None and not self.minimum < self.start <= self.maximum:
            raise ConfigError(
                f"samplers must start within {self.minimum}..{self.maximum}, but start is {self.start}."
            )
        if self.focus is not None and not self.minimum < self.focus < self.maximum:
            raise ConfigError(
                f"samplers look closest within {self.minimum}..{self.maximum}, but focus is {self.focus}."
            )

    @property
    def first(self) -> float:
        return self.start or min(self.maximum, HIGHEST_FIRST)

    def network_time(self, level: Tensor) -> Tensor:
        """Log level in units of the range; levels below it are told as the lowest one that the network has seen."""
        return (level / self.minimum).log().clamp(min=0) / math.log(self.maximum / self.minimum)

    def grid(self, steps: int) -> Tensor:
        return torch.logspace(
            math.log10(self.minimum), math.log10(self.maximum), steps + 1, dtype=torch.float64
        )


class Tabulated:
    """A variance-preserving process given as a table of gamma at t = 0, 1/T, ..., 1 (float32, as published)."""

    def __init__(self, gamma: Tensor) -> None:
        if gamma.dim() != 1 or len(gamma) < 2 or not bool((gamma.diff() > 0).all()):
            raise ConfigError("a gamma table must be one increasing row of at least two numbers.")
        self.gamma = gamma.to(torch.float32)
        self.focus = None
        self.minimum, self.maximum = (math.exp(0.5 * g) for g in (float(gamma[0]), float(gamma[-1])))

    @property
    def first(self) -> float:
        return min(self.maximum, HIGHEST_FIRST)

    @property
    def steps(self) -> int:
        """T, the number of steps of the table."""
        return len(self.gamma) - 1

    def network_time(self, level: Tensor) -> Tensor:
        """Time by linear interpolation in gamma, exact at the table's own levels."""
        gamma = self.gamma.to(level.device, torch.float64)
        wanted = (2 * level.double().log()).clamp(gamma[0], gamma[-1])
        right = torch.searchsorted(gamma, wanted).clamp(1, self.steps)
        low, high = gamma[right - 1], gamma[right]
        return (((right - 1) + (wanted - low) / (high - low)) / self.steps).to(level.dtype)

    def grid(self, steps: int) -> Tensor:
        if steps == self.steps:
            return (0.5 * self.gamma.double()).exp()
        position = torch.linspace(0, self.steps, steps + 1, dtype=torch.float64)
        low = position.floor().clamp(max=self.steps - 1).long()
        gamma = self.gamma.double()
        return (0.5 * (gamma[low] + (position - low) * (gamma[low + 1] - gamma[low]))).exp()


def gamma_of_alpha_squared(alpha_squared: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    """gamma = log sigma^2 - log alpha^2 as the published float32 table."""
    return torch.from_numpy(-(np.log(alpha_squared) - np.log(1 - alpha_squared))).float()


def polynomial(steps: int = 1000, power: float = 2.0, precision: float = 1e-5) -> Tabulated:
    """The schedule of the published models, alpha^2 = (1 - 2s) (1 - (t)^p)^2 + s (EDM, appendix B)."""
    if steps < 1 or power <= 0 or not 0 < precision < 0.5:
        raise ConfigError(
            f"a polynomial schedule needs steps >= 1, power > 0 and precision in 0..0.5, "
            f"but they are {steps}, {power}, {precision}."
        )
    a = (1 - (np.arange(steps + 1) / steps) ** power) ** 2
    ratios = np.clip(a / np.concatenate([[1.0], a[:-1]]), 0.001, 1.0)
    return Tabulated(gamma_of_alpha_squared((1 - 2 * precision) * np.cumprod(ratios) + precision))


def cosine(steps: int = 1000, offset: float = 0.008) -> Tabulated:
    """The cosine schedule (arXiv 2102.09672) with betas clipped at 0.999, as EDM tabulates it."""
    if steps < 1:
        raise ConfigError(f"a cosine schedule needs steps >= 1, but they are {steps}.")
    t = np.linspace(0, steps + 2, steps + 2)
    a = np.cos(((t / (steps + 2)) + offset) / (1 + offset) * np.pi * 0.5) ** 2
    a = a / a[0]
    beta = np.clip(1 - a[1:] / a[:-1], 0, 0.999)
    return Tabulated(gamma_of_alpha_squared(np.cumprod(1 - beta)))
