"""The variational lower bound on log p(x, h, N) of a molecule, with all its terms (EDM, section 3.3; VDM).

    log p >= - KL(q(z_T | x) || p(z_T)) - diffusion + log p(x, h | z_0) + log p(N)

It is written in the variance-exploding frame, where a step from level t to level s < t costs
0.5 (1/s^2 - 1/t^2) |x - x_hat|^2. The base measure is Lebesgue measure in Angstrom on the 3(N-1)-dimensional
centered subspace for the positions; elements are discrete, log p(N) is included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
from models.edm.told import told

STATE = torch.float64


def log_interval_mass(center: Tensor, scale: Tensor | float, half_width: float = 0.5) -> Tensor:
    """log of the mass that N(center, scale^2) gives to the interval of `half_width` around 0."""
    upper = torch.special.ndtr((center + half_width) / scale)
    lower = torch.special.ndtr((center - half_width) / scale)
    return torch.log(upper - lower + 1e-10)


def log_prob_of_features(features: AtomFeatures, h_noisy: Tensor, h: Tensor, level: Tensor | float) -> Tensor:
    """log p(elements, charges | z_0) of each molecule `[b]`, as the published decoder defines it."""
    count, a = len(features.elements), features.type_scale
    mass = log_interval_mass(h_noisy[..., :count] / a - 1, level / a)
    total = (mass.log_softmax(-1) * (h[..., :count] / a)).sum((-1, -2))
    if features.charge_scale is None:
        return total
    c = features.charge_scale
    return total + log_interval_mass((h[..., -1] - h_noisy[..., -1]) / c, level / c).sum(-1)


def prior_divergence(x: Tensor, h: Tensor, last: Tensor | float, scale: Tensor | float) -> Tensor:
    """KL(q(z_T | x, h) || prior) of each molecule `[b]`; both are Gaussians in the variance-exploding frame."""
    n = x.shape[-2]
    dimensions = degrees_of_freedom(n) + n * h.shape[-1]
    squares = x.square().sum((-1, -2)) + h.square().sum((-1, -2))
    ratio = torch.as_tensor((last / scale) ** 2)
    return 0.5 * (dimensions * (ratio - 1 - ratio.log()) + squares / scale**2)


class Look(NamedTuple):
    """One look at molecules through noise: the denoiser's squared errors and what is known of the noise, `[b]`."""

    error_x: Tensor  # |x - x_hat|^2
    error_h: Tensor
    noise_x: Tensor  # s^2 |eps_x|^2, whose mean s^2 d is known
    noisy_h: Tensor  # [b, n, c]


def look(denoiser: Denoiser, x: Tensor, h: Tensor, level: Tensor, sources: Sequence[torch.Generator]) -> Look:
    """Denoise molecules at levels `[b]`, each with noise of its own."""
    noise = stacked_normal(sources, (x.shape[1], 3 + h.shape[2])).to(x.device, STATE)
    s, kind = levels(level), denoiser.dtype
    noise_x, noisy_h = s * remove_mean(noise[..., :3]), h + s * noise[..., 3:]
    with torch.inference_mode(), network_autocast(x.device):
        out = denoiser((x + noise_x).to(kind), noisy_h.to(kind), level.to(kind))
    error_x = (remove_mean(out.x.to(STATE)) - x).square().sum((-1, -2))
    error_h = (out.h.to(STATE) - h).square().sum((-1, -2))
    return Look(error_x, error_h, noise_x.square().sum((-1, -2)), noisy_h)


def without_noise_of_the_noise(error: Tensor, noise: Tensor, level: Tensor, d: int) -> Tensor:
    """Errors `[b, draws]` of the same mean and less variance: a control variate.

    What the denoiser cannot remove, the share r of the noise, fluctuates with the noise's own length, so
    r (s^2 |eps|^2 - s^2 d), whose mean is zero, is taken off. r comes from the two neighboring draws, which are
    independent of this one, so nothing is biased.
    """
    if error.shape[1] < 2:
        return error
    share = error / noise
    around = torch.cat([share[:, 1:2], share, share[:, -2:-1]], 1)
    return error - 0.5 * (around[:, :-2] + around[:, 2:]) * (noise - d * level.square())


def diffusion_term(
    denoiser: Denoiser, x: Tensor, h: Tensor, sources: Sequence[torch.Generator],
    draws: int, steps: int | None, first: float, cancelled: Callable[[], bool],
) -> Tensor:  # fmt: skip
    """Estimates of the diffusion term `[b, draws]`, draw k from the k-th part of the noise levels from `first` on.

    Such strata take most of the variance of the level away.
    """
    process, d = denoiser.process, degrees_of_freedom(x.shape[1])
    grid = process.grid(steps).to(x.device) if steps else None
    width = 2 * math.log(process.maximum / first)
    drawn, weights, looks = [], [], []
    for draw in range(draws):
        if cancelled():
            raise InterruptedError("scoring was cancelled")
        u = torch.stack([torch.rand((), generator=source, dtype=STATE) for source in sources]).to(x.device)
        u = (draw + u) / draws
        if grid is None:
            level = first * (0.5 * width * u).exp()
            weights.append(0.5 * width / level.square())
        else:
            k = (u * (len(grid) - 1)).long().clamp(max=len(grid) - 2)
            low, level = grid[k], grid[k + 1]
            weights.append(0.5 * (len(grid) - 1) * (1 / low.square() - 1 / level.square()))
        drawn.append(level)
        looks.append(look(denoiser, x, h, level, sources))
    error_x, error_h, noise_x = (torch.stack([each[i] for each in looks], 1) for i in range(3))
    error_x = without_noise_of_the_noise(error_x, noise_x, torch.stack(drawn, 1), d)
    return torch.stack(weights, 1) * (error_x + error_h)


def decoder_terms(
    denoiser: Denoiser, x: Tensor, h: Tensor, sources: Sequence[torch.Generator], draws: int, first: float
) -> tuple[Tensor, Tensor]:
    """log p(x | z_0) without its constant and log p(h | z_0), both `[b, draws]`."""
    d = degrees_of_freedom(x.shape[1])
    start = torch.full((x.shape[0],), first, dtype=STATE, device=x.device)
    looks = [look(denoiser, x, h, start, sources) for _ in range(draws)]
    error, noise = (torch.stack([each[i] for each in looks], 1) for i in (0, 2))
    error = without_noise_of_the_noise(error, noise, start[:, None], d)
    elements = [log_prob_of_features(denoiser.features, each.noisy_h, h, first) for each in looks]
    return -0.5 * error / first**2, torch.stack(elements, 1)


def bound_of_bucket(
    denoiser: Denoiser, sizes: SizeDistribution, numbers: Tensor, positions: Tensor, seeds: Sequence[int],
    draws: int, steps: int | None, first: float, cancelled: Callable[[], bool],
) -> list[Likelihood]:  # fmt: skip
    """The bound for molecules of one size; `steps` noise levels, or the continuous-time limit for None.

    Below the level `first` the decoder takes over.
    """
    features, process = denoiser.features, denoiser.process
    x = remove_mean(positions.to(STATE) / features.coordinate_scale)
    h = features.encode(numbers).to(STATE)
    b, n = numbers.shape
    last = process.maximum
    sources = [generator(seed, "bound") for seed in seeds]
    diffusion = -diffusion_term(denoiser, x, h, sources, draws, steps, first, cancelled)
    log_p_x, log_p_h = decoder_terms(denoiser, x, h, sources, decoder_draws(draws), first)
    per_dimension = math.log(first) + 0.5 * LOG_TWO_PI + math.log(features.coordinate_scale)
    parts = {
        "prior": -prior_divergence(x, h, last, prior_scale(last)),
        "diffusion": diffusion.mean(1),
        "positions": log_p_x.mean(1) - degrees_of_freedom(n) * per_dimension,
        "elements": log_p_h.mean(1),
        "size": torch.full((b,), sizes.log_prob(n), dtype=STATE, device=x.device),
    }
    totals = torch.stack(list(parts.values())).sum(0)
    errors = torch.hypot(standard_error(diffusion), standard_error(log_p_x + log_p_h))
    return [
        Likelihood(
            float(totals[k]), float(errors[k]), "lower_bound", draws,
            {name: float(part[k]) for name, part in parts.items()},
        )
        for k in range(b)
    ]  # fmt: skip


def decoder_draws(draws: int) -> int:
    """Draws of the decoder's terms: they vary far less than the diffusion term, so fewer do."""
    return max(min(draws, 2), draws // 8)


def standard_error(values: Tensor) -> Tensor:
    """Standard error of the mean of stratified draws `[b, draws]`, from differences of neighboring strata.

    The plain formula would count the trend over the noise levels as noise. A stratum inside has two neighbors;
    the differences at the ends count more, as their strata have only one.
    """
    draws = values.shape[1]
    if draws < 2:
        return torch.full((values.shape[0],), math.inf, dtype=values.dtype)
    squares = values.diff(dim=1).square()
    return (0.5 * squares.sum(1) + 0.25 * (squares[:, 0] + squares[:, -1])).sqrt() / draws


def bound(
    denoiser: Denoiser,
    sizes: SizeDistribution,
    numbers: Sequence[NDArray[np.integer]],
    positions: Sequence[NDArray[np.floating]],
    seeds: Sequence[int],
    *,
    draws: int = 64,
    steps: int | None = None,
    lowest: float | None = None,
    context: Tensor | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Likelihood]:
    """The variational lower bound of each molecule, with the standard error of its `draws` noise levels.

    One network call a draw and a few for the decoder. Molecule k depends on its own seed only. `steps=1000`
    counts the bound of the published discrete process, None the continuous-time limit. `lowest` is the noise level,
    in scaled units, at which the decoder takes over, in place of the process's own (continuous time only). `context`
    has the scaled conditions of each molecule. Raises ConfigError for draws < 1 and for a lowest level that does not
    fit, InterruptedError when `cancelled` answers yes.
    """
    if draws < 1:
        raise ConfigError(f"draws is {draws}, but at least 1 is needed.")
    first = denoiser.process.minimum if lowest is None else lowest
    if lowest is not None and (steps is not None or not 0 < lowest < denoiser.process.maximum):
        raise ConfigError(
            f"lowest is {lowest} with steps {steps}; it needs continuous time (steps: null) and a level below "
            f"{denoiser.process.maximum:g}."
        )
    out: dict[int, Likelihood] = {}
    for part, z, x in size_buckets(numbers, positions, denoiser.device):
        view = told(denoiser, context, part)
        found = bound_of_bucket(view, sizes, z, x, [seeds[k] for k in part], draws, steps, first, cancelled)
        out.update(zip(part, found, strict=True))
        progress(len(out))
    return [out[k] for k in range(len(numbers))]
