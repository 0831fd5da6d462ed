"""log p by the probability-flow differential equation (Song et al., arXiv 2011.13456, section 4.3).

In u = log s the flow is dx/du = x - x_hat(x, s), and d log p / du = -div. The elements are made continuous by
the noise of the lowest level, whose entropy and decoder are counted: one draw is an unbiased estimate of a bound
whose gap is as small as that level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.centered import LOG_TWO_PI, degrees_of_freedom, remove_mean
from models.core.divergence import centered_directions, exact_divergence, hutchinson
from models.core.errors import ConfigError
from models.core.likelihood import Likelihood
from models.core.random import generator, stacked_normal
from models.edm.bound import STATE, log_prob_of_features
from models.edm.buckets import size_buckets
from models.edm.denoiser import Denoiser
from models.edm.process import prior_scale
from models.edm.sizes import SizeDistribution
from models.edm.told import told


def centered_state(noise: Tensor) -> Tensor:
    """Noise `[b, n, 3 + c]` with the mean of its position channels removed."""
    return torch.cat([remove_mean(noise[..., :3]), noise[..., 3:]], -1)


def normal_log_prob(state: Tensor, scale: float) -> Tensor:
    """log density of centered positions and free features `[b, n, 3 + c]` under N(0, scale^2): `[b]`."""
    n = state.shape[1]
    dimensions = degrees_of_freedom(n) + n * (state.shape[2] - 3)
    return -0.5 * state.square().sum((-1, -2)) / scale**2 - dimensions * (math.log(scale) + 0.5 * LOG_TWO_PI)


def flow_velocity(denoiser: Denoiser, level: float) -> Callable[[Tensor], Tensor]:
    """dx/du at a noise level, on states `[b, n, 3 + c]`, in the precision of the state."""

    def velocity(state: Tensor) -> Tensor:
        at = torch.full((state.shape[0],), level, dtype=state.dtype, device=state.device)
        out = denoiser(state[..., :3], state[..., 3:], at)
        return state - torch.cat([remove_mean(out.x), out.h], -1)

    return velocity


def transport(
    denoiser: Denoiser, state: Tensor, steps: int, probe: Tensor | None, cancelled: Callable[[], bool]
) -> tuple[Tensor, Tensor]:
    """Carry states from the lowest level to the highest by Heun's method with fixed steps.

    Returns the final state and the integral of the divergence, by Hutchinson with `probe` or exactly for None.
    Fixed steps keep a molecule independent of its batch.
    """
    process = denoiser.process
    edges = torch.linspace(
        math.log(process.minimum), math.log(process.maximum), steps + 1, dtype=STATE
    ).tolist()
    directions = centered_directions(state.shape[1], 3, state.shape[2] - 3, dtype=state.dtype).to(
        state.device
    )

    def slope(at: Tensor, u: float) -> tuple[Tensor, Tensor]:
        velocity = flow_velocity(denoiser, math.exp(u))
        if probe is None:
            return exact_divergence(velocity, at, directions)
        return hutchinson(velocity, at, probe)

    total = torch.zeros(state.shape[0], dtype=STATE, device=state.device)
    for low, high in itertools.pairwise(edges):
        if cancelled():
            raise InterruptedError("scoring was cancelled")
        step = high - low
        first, divergence_first = slope(state, low)
        second, divergence_second = slope(state + step * first, high)
        state = state + 0.5 * step * (first + second)
        total = total + 0.5 * step * (divergence_first + divergence_second).to(STATE)
    return state, total


def flow_of_bucket(
    denoiser: Denoiser, numbers: Tensor, positions: Tensor, seeds: Sequence[int],
    draws: int, steps: int, exact: bool, cancelled: Callable[[], bool],
) -> Tensor:  # fmt: skip
    """Estimates of log p(x, h | N) for molecules of one size, `[b, draws]`."""
    features, process, kind = denoiser.features, denoiser.process, denoiser.dtype
    first = process.minimum
    x = remove_mean(positions.to(STATE) / features.coordinate_scale)
    h = features.encode(numbers).to(STATE)
    b, n = numbers.shape
    sources = [generator(seed, "flow") for seed in seeds]
    start = torch.full((b,), first, dtype=kind, device=x.device)
    values = []
    for _ in range(draws):
        noise = centered_state(stacked_normal(sources, (n, 3 + features.channels)).to(x.device, STATE))
        state = torch.cat([x, h], -1) + first * noise
        probe = None
        if not exact:
            signs = stacked_normal(sources, (n, 3 + features.channels)).sign()
            probe = centered_state(signs.to(x.device, kind))
        with torch.no_grad():
            end, divergence = transport(denoiser, state.to(kind), steps, probe, cancelled)
            clean = denoiser(state[..., :3].to(kind), state[..., 3:].to(kind), start)
        log_p_x = normal_log_prob(remove_mean(clean.x.to(STATE)) - x, first)
        log_p_h = log_prob_of_features(features, state[..., 3:], h, first)
        log_q = normal_log_prob(first * noise, first)
        log_p_state = normal_log_prob(end.to(STATE), prior_scale(process.maximum)) + divergence
        values.append(log_p_state + log_p_x + log_p_h - log_q)
    return torch.stack(values, 1) - degrees_of_freedom(n) * math.log(features.coordinate_scale)


def probability_flow_log_prob(
    denoiser: Denoiser,
    sizes: SizeDistribution,
    numbers: Sequence[NDArray[np.integer]],
    positions: Sequence[NDArray[np.floating]],
    seeds: Sequence[int],
    *,
    draws: int = 4,
    steps: int = 50,
    exact: bool = False,
    context: Tensor | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Likelihood]:
    """log p(x, h, N) of each molecule in nats by the probability flow, same base measure as the bound.

    Each of the `draws` has its own dequantization noise and, unless `exact`, its own Rademacher probe. A draw
    costs 2 `steps` differentiated network calls (about 8N times as many when exact). Molecule k depends on its
    own seed only. Raises ConfigError for draws or steps < 1, InterruptedError when `cancelled` answers yes.
    """
    if draws < 1 or steps < 1:
        raise ConfigError(f"draws ({draws}) and steps ({steps}) must be at least 1.")
    out: dict[int, Likelihood] = {}
    for part, z, x in size_buckets(numbers, positions, denoiser.device):
        view = told(denoiser, context, part)
        found = flow_of_bucket(view, z, x, [seeds[k] for k in part], draws, steps, exact, cancelled)
        size = sizes.log_prob(z.shape[1])
        error = found.std(1) / math.sqrt(draws) if draws > 1 else torch.full((len(part),), math.inf)
        for row, mean, spread in zip(part, found.mean(1).tolist(), error.tolist(), strict=True):
            out[row] = Likelihood(mean + size, spread, "estimate", draws, {"flow": mean, "size": size})
        progress(len(out))
    return [out[k] for k in range(len(numbers))]
