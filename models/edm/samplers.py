"""Samplers as step functions: each `advance` makes one network call and moves every lane.

| name          | step                                                              | calls for k levels |
| ------------- | ----------------------------------------------------------------- | ------------------ |
| stochastic    | Euler, with fresh noise added before every call (churn)           | k                  |
| deterministic | Euler along the probability flow (DDIM)                           | k                  |
| heun          | second order, with optional churn                                 | 2k - 1             |
| ancestral     | the posterior q(z_s | z_t, x) of the paper, then p(x | z_0)       | k + 1              |
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.edm.denoiser import Denoiser, levels
from models.edm.lanes import STATE, Lanes
from models.edm.process import Process, Tabulated


class Sampler(Protocol):
    """A way down the noise levels."""

    def grid(self, denoiser: Denoiser) -> Tensor:
        """Noise levels from the largest to the last, float64."""

    def calls(self) -> int:
        """Network calls from start to end."""

    def advance(self, denoiser: Denoiser, lanes: Lanes) -> None:
        """One network call: move every lane one stage on."""


def call_levels(process: Process, lowest: float, count: int) -> Tensor:
    """`count` levels from the first one down to `lowest`, float64: evenly in log s, but twice as dense at the focus.

    The density of calls is 1 + exp(-(log s - log focus)^2 / 2).
    """
    fine = np.linspace(math.log(process.first), math.log(lowest), 4001)
    passed = -fine
    if process.focus is not None:
        away = torch.from_numpy(fine - math.log(process.focus))
        passed = passed - math.sqrt(math.pi / 2) * torch.erf(away / math.sqrt(2)).numpy()
    wanted = np.linspace(passed[0], passed[-1], count)
    return torch.from_numpy(np.exp(np.interp(wanted, passed, fine)))


def falling_levels(denoiser: Denoiser, count: int, churn: float) -> Tensor:
    """`count` levels from the process's first to its minimum, then zero, for steps that raise the noise by churn.

    The network is called at 1 + churn times a level, and it is these calls that must not be wasted above the first
    level: so the second level already lies the churn lower.
    """
    process = denoiser.process
    lowest = min(process.minimum * (1 + churn), process.first)
    falling = call_levels(process, lowest, count) / (1 + churn)
    falling[0] = process.first
    return torch.cat([falling, falling.new_zeros(1)])


def add_churn(lanes: Lanes, churn: float) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, features and level after raising each lane's noise by the factor 1 + churn.

    Never above the first level of the grid: the network knows no higher one.
    """
    level = lanes.level()
    if churn == 0:
        return lanes.x, lanes.h, level
    noise_x, noise_h = lanes.noise()
    raised = torch.minimum(level * (1 + churn), lanes.grid[:, 0])
    extra = levels((raised.square() - level.square()).sqrt())
    return lanes.x + extra * noise_x, lanes.h + extra * noise_h, raised


class Stochastic:
    """Euler with churn (Karras et al., arXiv 2206.00364, algorithm 2, first order, noise at every step).

    A first-order step from a raised level contracts, so churn also cools: unit Gaussian data come out with a
    variance of about 0.9 at churn 0.2 and 0.75 at churn 0.8, however many steps are made.
    """

    def __init__(self, steps: int, churn: float) -> None:
        self.steps, self.churn = steps, churn

    def grid(self, denoiser: Denoiser) -> Tensor:
        return falling_levels(denoiser, self.steps, self.churn)

    def calls(self) -> int:
        return self.steps

    def advance(self, denoiser: Denoiser, lanes: Lanes) -> None:
        x, h, level = add_churn(lanes, self.churn)
        clean = lanes.denoise(denoiser, x, h, level)
        keep = levels(lanes.level(1) / level)
        lanes.x, lanes.h = clean.x + keep * (x - clean.x), clean.h + keep * (h - clean.h)
        lanes.place = lanes.place + 1


class Heun:
    """Second-order steps (algorithm 2 of the same paper); the last step, to zero, is a plain Euler step."""

    def __init__(self, steps: int, churn: float) -> None:
        self.levels, self.churn = (steps + 1) // 2, churn

    def grid(self, denoiser: Denoiser) -> Tensor:
        return falling_levels(denoiser, self.levels, self.churn)

    def calls(self) -> int:
        return 2 * self.levels - 1

    def advance(self, denoiser: Denoiser, lanes: Lanes) -> None:
        after = lanes.level(1)
        m = lanes.memory
        if "slope_x" not in m:
            x, h, level = add_churn(lanes, self.churn)
            clean = lanes.denoise(denoiser, x, h, level)
            slope_x, slope_h = (x - clean.x) / levels(level), (h - clean.h) / levels(level)
            step = levels(after - level)
            lanes.x, lanes.h = x + step * slope_x, h + step * slope_h
            if bool((after == 0).all()):
                lanes.place = lanes.place + 1
                return
            lanes.memory = {"x": x, "h": h, "level": level, "slope_x": slope_x, "slope_h": slope_h}
            return
        clean = lanes.denoise(denoiser, lanes.x, lanes.h, after)
        half = 0.5 * levels(after - m["level"])
        lanes.x = m["x"] + half * (m["slope_x"] + (lanes.x - clean.x) / levels(after))
        lanes.h = m["h"] + half * (m["slope_h"] + (lanes.h - clean.h) / levels(after))
        lanes.memory = {}
        lanes.place = lanes.place + 1


class Ancestral:
    """The published sampler (EDM, algorithm 2): z_T to z_0 by the posterior, then x from p(x | z_0)."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def grid(self, denoiser: Denoiser) -> Tensor:
        rising = denoiser.process.grid(self.steps)
        return torch.cat([rising.flip(0), torch.zeros(1, dtype=STATE)])

    def calls(self) -> int:
        return self.steps + 1

    def advance(self, denoiser: Denoiser, lanes: Lanes) -> None:
        level, after = lanes.level(), lanes.level(1)
        clean = lanes.denoise(denoiser, lanes.x, lanes.h, level)
        noise_x, noise_h = lanes.noise()
        last = levels(after) == 0
        keep = levels((after / level).square())
        spread = levels(after) * (1 - keep).sqrt()
        # At the end positions are drawn around the estimate; elements are read from z_0 itself, not from it.
        spread_x = torch.where(last, levels(level), spread)
        lanes.x = clean.x + keep * (lanes.x - clean.x) + spread_x * noise_x
        lanes.h = torch.where(last, lanes.h, clean.h + keep * (lanes.h - clean.h) + spread * noise_h)
        lanes.place = lanes.place + 1


SAMPLERS = ("stochastic", "deterministic", "heun", "ancestral")


def make_sampler(name: str, steps: int, churn: float, denoiser: Denoiser) -> Sampler:
    """The sampler `name` with at most `steps` network calls (ancestral: one more, as published).

    Raises ConfigError for an unknown name, too few steps, or a sampler that does not fit the model.
    """
    if steps < 2:
        raise ConfigError(f"steps is {steps}, but a sampler needs at least 2 network calls.")
    if not 0 <= churn <= 4:
        raise ConfigError(f"churn is {churn}, but must lie in 0..4.")
    if name == "stochastic":
        return Stochastic(steps, churn)
    if name == "deterministic":
        return Stochastic(steps, 0.0)
    if name == "heun":
        return Heun(steps, churn)
    if name == "ancestral":
        if isinstance(denoiser.process, Tabulated) and steps > denoiser.process.steps:
            raise ConfigError(
                f"this model has {denoiser.process.steps} noise levels; steps may not exceed it."
            )
        return Ancestral(steps)
    raise ConfigError(f"sampler is {name!r}; choose one of {', '.join(SAMPLERS)}.")
