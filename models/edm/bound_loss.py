"""The negative variational bound as a training loss, for noise prediction; a learned schedule needs it."""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.centered import LOG_TWO_PI, degrees_of_freedom, remove_mean
from models.core.errors import ConfigError
from models.core.random import stratified
from models.edm.bound import log_prob_of_features, prior_divergence
from models.edm.denoiser import DataDenoiser, NoiseDenoiser, levels

Noise = tuple[Tensor, Tensor]


def bound_loss(
    denoiser: DataDenoiser | NoiseDenoiser, numbers: Tensor, positions: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """An unbiased estimate of the negative bound without log p(N), in nats, split into what noisy molecules cost
    and what the ends of the schedule cost, both `[b]` (EDM, section 3.3, with T times one drawn term of the sum).

    `numbers` `[b, n]`, `positions` `[b, n, 3]` in Angstrom. Gradients reach the schedule where it is learned.
    Raises ConfigError for data prediction, which is trained by its weighted errors.
    """
    if not isinstance(denoiser, NoiseDenoiser):
        raise ConfigError("the bound as a loss needs noise prediction; use loss kind 'denoising' here.")
    features, steps = denoiser.features, denoiser.schedule.steps
    b, n = numbers.shape
    d = degrees_of_freedom(n)
    x = remove_mean(positions / features.coordinate_scale)
    h = features.encode(numbers)

    def draw() -> Noise:
        noise = torch.randn(b, n, 3 + features.channels, generator=generator, device=generator.device)
        noise = noise.to(x.device)
        return remove_mean(noise[..., :3]), noise[..., 3:]

    u = stratified(b, generator)
    order = torch.randperm(b, generator=generator, device=generator.device)
    k = (u[order] * steps).long().clamp(max=steps - 1).to(x.device)
    gamma_s, gamma_t = denoiser.gamma(k), denoiser.gamma(k + 1)
    error_x, error_h = noise_errors(denoiser, x, h, gamma_t, (k + 1) / steps, draw())
    diffusion = 0.5 * steps * torch.expm1(gamma_t - gamma_s) * (error_x + error_h)

    first = denoiser.gamma(torch.zeros(b, dtype=torch.long, device=x.device))
    last = denoiser.gamma(torch.full((b,), steps, device=x.device))
    noise = draw()
    start_x, _ = noise_errors(denoiser, x, h, first, torch.zeros(b, device=x.device), noise)
    level = levels((0.5 * first).exp())
    log_p_h = log_prob_of_features(features, h + level * noise[1], h, level)
    per_dimension = 0.5 * (first + LOG_TWO_PI) + torch.tensor(features.coordinate_scale).log()
    prior = prior_divergence(x, h, (0.5 * last).exp(), (1 + last.exp()).sqrt())
    return diffusion, 0.5 * start_x + d * per_dimension - log_p_h + prior


def noise_errors(
    denoiser: NoiseDenoiser, x: Tensor, h: Tensor, gamma: Tensor, time: Tensor, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Squared errors of the predicted noise of positions and of features, `[b]` each, at gamma and time `[b]`."""
    sigma, alpha = levels(torch.sigmoid(gamma).sqrt()), levels(torch.sigmoid(-gamma).sqrt())
    found_x, found_h = denoiser.noise(alpha * x + sigma * noise[0], alpha * h + sigma * noise[1], time)
    return (
        (found_x - noise[0]).square().sum((-1, -2)),
        (found_h - noise[1]).square().sum((-1, -2)),
    )
