"""The training loss: weighted squared error of the positions, cross-entropy (or squared error) of the elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.core.random import stratified
from models.edm.denoiser import DataDenoiser, NoiseDenoiser, levels
from models.edm.process import Tabulated

DISTORTED_SHARE = 0.2
SEEN_SHARE = 0.5
"""Molecules that self-conditioned training shows its own first estimate."""


@dataclass(frozen=True)
class LossOptions:
    """kind: "denoising", weighted errors, or "bound", the negative bound in nats (noise prediction only).

    Of denoising: type_weight, weight of the elements' loss beside the positions'. spread: standard deviation of
    log s is spread / 8 of the log range, around its middle plus `shift` (data prediction only). distortion: one atom
    in five is moved by so much noise more, as a multiple of s, that the network is not told of; a sampler's own
    estimates are off in the same way.
    """

    kind: Literal["denoising", "bound"] = "denoising"
    type_weight: float = 0.5
    spread: float = 1.2
    shift: float = 0.0
    distortion: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe; unknown keys are errors."""
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            known = sorted(cls.__dataclass_fields__)
            raise ConfigError(f"EDM's loss: unknown settings {unknown}; known are {known}.")
        if values.get("kind", "denoising") not in ("denoising", "bound"):
            raise ConfigError(f"EDM's loss: kind is {values['kind']!r}; choose 'denoising' or 'bound'.")
        if float(values.get("distortion", 0.0)) < 0:
            raise ConfigError(f"EDM's loss: distortion is {values['distortion']}, but must not be negative.")
        return cls(**values)


def draw_levels(
    denoiser: DataDenoiser | NoiseDenoiser, n: int, options: LossOptions, source: torch.Generator
) -> Tensor:
    """Noise levels for n molecules, stratified over the batch to lower the variance of the gradient."""
    process = denoiser.process
    if isinstance(process, Tabulated):
        grid = process.grid(process.steps)
        place = torch.randint(1, len(grid), (n,), generator=source, device=source.device)
        return grid.to(place.device)[place].float()
    quantile = stratified(n, source)
    width = math.log(process.maximum / process.minimum)
    middle = 0.5 * (math.log(process.maximum) + math.log(process.minimum)) + options.shift
    log_level: Tensor = middle + options.spread * width / 8 * torch.special.ndtri(
        quantile.clamp(1e-6, 1 - 1e-6)
    )
    return log_level.exp().clamp(process.minimum, process.maximum)


def distort(noise: Tensor, size: float, source: torch.Generator) -> Tensor:
    """Noise `[b, n, 3]` (centered) with `size` times as much again at one atom in five, centered."""
    chosen = torch.rand(noise.shape[:2], generator=source, device=source.device) < DISTORTED_SHARE
    more = size * torch.randn(noise.shape, generator=source, device=source.device) * chosen[..., None]
    return remove_mean(noise + more.to(noise.device))


def seen_before(
    denoiser: DataDenoiser | NoiseDenoiser, noisy: tuple[Tensor, Tensor, Tensor], source: torch.Generator
) -> dict[str, Any]:
    """What a self-conditioned denoiser is told of its first estimate: for half of the molecules all, else nothing."""
    if not isinstance(denoiser, DataDenoiser) or not denoiser.self_conditioned:
        return {}
    with torch.no_grad():
        first = denoiser(*noisy)
    known = torch.rand(len(noisy[0]), generator=source, device=source.device) < SEEN_SHARE
    return {"previous": first, "known": known.to(noisy[0].device)}


def denoising_loss(
    denoiser: DataDenoiser | NoiseDenoiser,
    numbers: Tensor,
    positions: Tensor,
    *,
    options: LossOptions,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Position loss and element loss of each molecule, both `[b]`, for a bucket of one size.

    `numbers` `[b, n]` are atomic numbers, `positions` `[b, n, 3]` are in Angstrom; losses are means over atoms.
    """
    features = denoiser.features
    b, n = numbers.shape
    x = remove_mean(positions / features.coordinate_scale)
    h = features.encode(numbers)
    level = draw_levels(denoiser, b, options, generator).to(x.device)
    s = levels(level)
    source = generator.device
    noise_x = remove_mean(torch.randn(b, n, 3, generator=generator, device=source)).to(x.device)
    noise_h = torch.randn(b, n, features.channels, generator=generator, device=source).to(x.device)
    if options.distortion:
        noise_x = distort(noise_x, options.distortion, generator)
    noisy = x + s * noise_x, h + s * noise_h, level
    estimate = denoiser(*noisy, **seen_before(denoiser, noisy, generator))
    position = ((estimate.x - x).square().sum(-1).mean(-1)) * denoiser.weight(level)
    if estimate.logits is None:
        return position, (estimate.h - h).square().sum(-1).mean(-1) * denoiser.weight(level)
    entropy = F.cross_entropy(estimate.logits.transpose(1, 2), features.types(numbers), reduction="none")
    return position, entropy.mean(-1)
