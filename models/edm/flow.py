"""log p by the probability-flow differential equation (Song et al., arXiv 2011.13456, section 4.3).

In u = log s the flow is dx/du = x - x_hat(x, s), and d log p / du = -div. The elements are made continuous by
the noise of the lowest level, whose entropy and decoder are counted: one draw is an unbiased estimate of a bound
whose gap is as small as that level.
"""

from __future__ import annotations

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
from models.edm.bound import STATE, Denoiser, log_prob_of_features
from models.edm.sampling import split_lanes
from models.edm.sizes import SizeDistribution


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
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        if cancelled():
            raise InterruptedError("scoring was cancelled")
        step = high - low
        first, divergence_first = slope(state, low)
        second, divergence_second = slope(state + step * first, high)
        state = state + 0.5 * step * (first + second)
        total = total + 0.5 * step * (divergence_first + divergence_second).to(STATE)
    return state, total


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
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Likelihood]:
    """log p(x, h, N) of each molecule in nats by the probability flow, same base measure as the bound.

    Each of the `draws` has its own dequantization noise and, unless `exact`, its own Rademacher probe. A draw
    costs 2 `steps` differentiated network calls (about 8N times as many when exact).
    """
    if draws < 1 or steps < 1:
        raise ConfigError(f"draws ({draws}) and steps ({steps}) must be at least 1.")
    device = next(denoiser.parameters()).device
    features, first = denoiser.features, denoiser.process.minimum
    out: dict[int, Likelihood] = {}
    for n in sorted({len(row) for row in numbers}):
        rows = [k for k, row in enumerate(numbers) if len(row) == n]
        for part in split_lanes(n, rows, device):
            z = torch.from_numpy(np.stack([np.asarray(numbers[k], dtype=np.int64) for k in part])).to(device)
            x = torch.from_numpy(np.stack([np.asarray(positions[k], dtype=np.float64) for k in part])).to(
                device
            )
            x = remove_mean(x / features.coordinate_scale)
            h = features.encode(z).to(STATE)
            sources = [generator(seeds[k], "flow") for k in part]
            values = []
            for _ in range(draws):
                noise = stacked_normal(sources, (n, 3 + features.channels)).to(device, STATE)
                noise[..., :3] = remove_mean(noise[..., :3])
                state = torch.cat([x, h], -1) + first * noise
                probe = torch.stack(
                    [torch.randn(n, 3 + features.channels, generator=s).sign() for s in sources]
                )
                probe = probe.to(device, torch.float32)
                probe[..., :3] = remove_mean(probe[..., :3])
                with torch.no_grad():
                    end, divergence = transport(
                        denoiser, state.float(), steps, None if exact else probe, cancelled
                    )
                    clean = denoiser(
                        state[..., :3].float(),
                        state[..., 3:].float(),
                        torch.full((len(part),), first, device=device),
                    )
                decoder = normal_log_prob(
                    torch.cat([remove_mean(clean.x.to(STATE)) - x, h[..., :0]], -1), first
                ) + log_prob_of_features(features, state[..., 3:], h, first)
                entropy = normal_log_prob(first * noise, first)
                prior = normal_log_prob(end.to(STATE), denoiser.process.prior_scale())
                values.append(prior + divergence + decoder - entropy)
            stacked = torch.stack(values, 1) - degrees_of_freedom(n) * math.log(features.coordinate_scale)
            stacked = stacked + sizes.log_prob(n)
            error = stacked.std(1) / math.sqrt(draws) if draws > 1 else torch.full((len(part),), math.inf)
            for k, row in enumerate(part):
                out[row] = Likelihood(
                    float(stacked[k].mean()), float(error[k]), "estimate", draws, {"size": sizes.log_prob(n)}
                )
            progress(len(out))
    return [out[k] for k in range(len(numbers))]
