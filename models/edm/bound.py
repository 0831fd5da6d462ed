"""The variational lower bound on log p(x, h, N) of a molecule, with all its terms (EDM, section 3.3; VDM).

    log p >= - KL(q(z_T | x) || p(z_T)) - diffusion + log p(x, h | z_0) + log p(N)

It is written in the variance-exploding frame, where a step from level t to level s < t costs
0.5 (1/s^2 - 1/t^2) |x - x_hat|^2. The base measure is Lebesgue measure in Angstrom on the 3(N-1)-dimensional
centered subspace for the positions; elements are discrete, log p(N) is included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.centered import LOG_TWO_PI, degrees_of_freedom, remove_mean
from models.core.errors import ConfigError
from models.core.likelihood import Likelihood
from models.core.precision import network_autocast
from models.core.random import generator, stacked_normal
from models.edm.buckets import size_buckets
from models.edm.denoiser import Denoiser, levels
from models.edm.features import AtomFeatures
from models.edm.process import prior_scale
from models.edm.sizes import SizeDistribution

STATE = torch.float64


def log_interval_mass(center: Tensor, scale: Tensor | float, half_width: float = 0.5) -> Tensor:
    """log of the mass that N(center, scale^2) gives to the interval of `half_width` around 0."""
    upper = torch.special.ndtr((center + half_width) / scale)
    lower = torch.special.ndtr((center - half_width) / scale)
    return torch.log(upper - lower + 1e-10)


def log_prob_of_features(features: AtomFeatures, h_noisy: Tensor, h: Tensor, level: float) -> Tensor:
    """log p(elements, charges | z_0) of each molecule `[b]`, as the published decoder defines it."""
    count, a = len(features.elements), features.type_scale
    mass = log_interval_mass(h_noisy[..., :count] / a - 1, level / a)
    total = (mass.log_softmax(-1) * (h[..., :count] / a)).sum((-1, -2))
    if features.charge_scale is None:
        return total
    c = features.charge_scale
    return total + log_interval_mass((h[..., -1] - h_noisy[..., -1]) / c, level / c).sum(-1)


def prior_divergence(x: Tensor, h: Tensor, last: float, scale: float) -> Tensor:
    """KL(q(z_T | x, h) || prior) of each molecule `[b]`; both are Gaussians in the variance-exploding frame."""
    n = x.shape[-2]
    dimensions = degrees_of_freedom(n) + n * h.shape[-1]
    squares = x.square().sum((-1, -2)) + h.square().sum((-1, -2))
    ratio = (last / scale) ** 2
    return 0.5 * (dimensions * (ratio - 1 - math.log(ratio)) + squares / scale**2)


def squared_error(
    denoiser: Denoiser, x: Tensor, h: Tensor, level: Tensor, sources: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor, Tensor]:
    """|x - x_hat|^2 and |h - h_hat|^2 `[b]` at levels `[b]`, and the noisy features, each molecule's own noise."""
    noise = stacked_normal(sources, (x.shape[1], 3 + h.shape[2])).to(x.device, STATE)
    s = levels(level)
    noisy_h = h + s * noise[..., 3:]
    with torch.inference_mode(), network_autocast(x.device):
        noisy_x, kind = x + s * remove_mean(noise[..., :3]), denoiser.dtype
        out = denoiser(noisy_x.to(kind), noisy_h.to(kind), level.to(kind))
    error_x = (remove_mean(out.x.to(STATE)) - x).square().sum((-1, -2))
    return error_x, (out.h.to(STATE) - h).square().sum((-1, -2)), noisy_h


def bound_of_bucket(
    denoiser: Denoiser, sizes: SizeDistribution, numbers: Tensor, positions: Tensor, seeds: Sequence[int],
    draws: int, steps: int | None, cancelled: Callable[[], bool],
) -> list[Likelihood]:  # fmt: skip
    """The bound for molecules of one size; `steps` noise levels, or the continuous-time limit for None."""
    features, process = denoiser.features, denoiser.process
    x = remove_mean(positions.to(STATE) / features.coordinate_scale)
    h = features.encode(numbers).to(STATE)
    b, n = numbers.shape
    d = degrees_of_freedom(n)
    sources = [generator(seed, "bound") for seed in seeds]
    grid = process.grid(steps) if steps else None
    first, last = process.minimum, process.maximum
    diffusion, reconstruction_x, reconstruction_h = [], [], []
    width = 2 * math.log(last / first)
    for draw in range(draws):
        if cancelled():
            raise InterruptedError("scoring was cancelled")
        u = torch.stack([torch.rand((), generator=source, dtype=STATE) for source in sources]).to(x.device)
        # Stratified: draw k looks at the k-th part of the noise levels, which takes most of the variance away.
        u = (draw + u) / draws
        if grid is None:
            level = first * (0.5 * width * u).exp()
            weight = 0.5 * width / level.square()
        else:
            k = (u * (len(grid) - 1)).long().clamp(max=len(grid) - 2)
            low, level = grid.to(x.device)[k], grid.to(x.device)[k + 1]
            weight = 0.5 * (len(grid) - 1) * (1 / low.square() - 1 / level.square())
        error_x, error_h, _ = squared_error(denoiser, x, h, level, sources)
        diffusion.append(weight * (error_x + error_h))
        start = torch.full((b,), first, dtype=STATE, device=x.device)
        error_x, _, noisy_h = squared_error(denoiser, x, h, start, sources)
        reconstruction_x.append(-0.5 * error_x / first**2)
        reconstruction_h.append(log_prob_of_features(features, noisy_h, h, first))
    constant = -d * (math.log(first) + 0.5 * LOG_TWO_PI + math.log(features.coordinate_scale))
    kl = prior_divergence(x, h, last, prior_scale(last))
    parts = {
        "prior": (-kl)[:, None],
        "diffusion": -torch.stack(diffusion, 1),
        "positions": torch.stack(reconstruction_x, 1) + constant,
        "elements": torch.stack(reconstruction_h, 1),
        "size": torch.full((b, 1), sizes.log_prob(n), dtype=STATE, device=x.device),
    }
    means = {name: part.mean(1) for name, part in parts.items()}
    totals = torch.stack(list(means.values())).sum(0)
    errors = standard_error(parts["diffusion"] + parts["positions"] + parts["elements"])
    return [
        Likelihood(
            float(totals[k]),
            float(errors[k]),
            "lower_bound",
            draws,
            {name: float(m[k]) for name, m in means.items()},
        )
        for k in range(b)
    ]


def standard_error(values: Tensor) -> Tensor:
    """Standard error of the mean of stratified draws `[b, draws]`, from differences of neighboring strata.

    The plain formula would count the trend over the noise levels as noise; it is an upper limit here.
    """
    draws = values.shape[1]
    if draws < 2:
        return torch.full((values.shape[0],), math.inf, dtype=values.dtype)
    return (values.diff(dim=1).square().sum(1) / (2 * (draws - 1)) / draws).sqrt()


def bound(
    denoiser: Denoiser,
    sizes: SizeDistribution,
    numbers: Sequence[NDArray[np.integer]],
    positions: Sequence[NDArray[np.floating]],
    seeds: Sequence[int],
    *,
    draws: int = 64,
    steps: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Likelihood]:
    """The variational lower bound of each molecule, with the standard error of its `draws` noise levels.

    Two network calls a draw. Molecule k depends on its own seed only. `steps=1000` counts the bound of the
    published discrete process, None the continuous-time limit. Raises ConfigError for no molecules or draws < 1,
    InterruptedError when `cancelled` answers yes.
    """
    if draws < 1:
        raise ConfigError(f"draws is {draws}, but at least 1 is needed.")
    out: dict[int, Likelihood] = {}
    for part, z, x in size_buckets(numbers, positions, denoiser.device):
        found = bound_of_bucket(denoiser, sizes, z, x, [seeds[k] for k in part], draws, steps, cancelled)
        out.update(zip(part, found, strict=True))
        progress(len(out))
    return [out[k] for k in range(len(numbers))]
