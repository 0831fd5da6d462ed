"""Flow matching (arXiv 2210.02747): the field learns the velocities of straight paths, without solving anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.core.centered import remove_mean
from models.core.random import stratified
from models.enf.field import VectorField
from models.enf.molecules import MoleculeField


def draw_times(n: int, center: float, spread: float, source: torch.Generator) -> Tensor:
    """Times `[n]`, stratified over the batch, whose log(t / (1-t)) is normal.

    center = 0, spread = 1.8 is about uniform. The likelihood gives velocity errors the weight (1-t)/t, so times
    near the data matter more to it than to the look of the samples.
    """
    quantile = stratified(n, source)
    return torch.sigmoid(center + spread * torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6)))


def matching_loss(
    field: VectorField,
    x: Tensor,
    h: Tensor,
    types: Tensor,
    *,
    center: float,
    spread: float,
    source: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Position loss and feature loss of each molecule `[b]`: means over atoms for scaled positions `[b, n, 3]`,
    dequantized features `[b, n, c]` and element channels `[b, n]`.

    Squared errors of the velocity, those of the positions divided by what the best linear guess leaves. A
    MoleculeField learns its element posterior by cross-entropy, which has the same minimum.
    """
    b, n = types.shape
    t = draw_times(b, center, spread, source).to(x.device, x.dtype)
    at = t[:, None, None]
    noise = torch.randn(b, n, x.shape[-1] + h.shape[-1], generator=source, device=source.device)
    noise = noise.to(x.device, x.dtype)
    noise_x, noise_h = remove_mean(noise[..., : x.shape[-1]]), noise[..., x.shape[-1] :]
    x_t, h_t = (1 - at) * x + at * noise_x, (1 - at) * h + at * noise_h
    unit = (1 - t).square() + t.square()
    if isinstance(field, MoleculeField):
        dx, logits = field.posterior(t, x_t, h_t)
        features = F.cross_entropy(logits.transpose(1, 2), types, reduction="none").mean(-1)
    else:
        dx, dh = field(t, x_t, h_t)
        features = (dh - (noise_h - h)).square().sum(-1).mean(-1)
    position = (dx - (noise_x - x)).square().sum(-1).mean(-1) * unit
    return position, features
