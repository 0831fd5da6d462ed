"""Rows under conditions: sequential Monte Carlo along the order of the autoregressive spline.

Every condition is an interval of the latent number in question, given those before it: a value is the interval of its
resolution, counts are their cells, and category c wins when its number passes those before it and those after it stay
below. So each step draws from a truncated normal, and what the truncation cuts off is the weight. Without conditions
every weight is one and this is plain ancestral sampling. Reference: Doucet & Johansen (2009), a tutorial on particle
filtering.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from models.core.errors import ConfigError, DivergedError
from models.core.random import generator
from models.survae.bijections import FromZuko
from models.survae.contract import Noise, Stack
from models.survae_descriptors.model import DescriptorFlow

FAR = 1e4
"""Stands for infinity, which has no place in a spline."""


@dataclass(frozen=True)
class Conditions:
    """Closed intervals of continuous columns and counts, one category of categorical ones; by column name."""

    intervals: Mapping[str, tuple[float, float]]
    categories: Mapping[str, int]

    def __bool__(self) -> bool:
        return bool(self.intervals or self.categories)


@dataclass(frozen=True)
class Drawn:
    """A row `[columns]`, the estimated log-probability of the conditions, and the smallest effective sample size."""

    row: Tensor
    log_evidence: float
    effective: float


def latent_bounds(
    model: DescriptorFlow, conditions: Conditions
) -> tuple[Tensor, Tensor, dict[int, tuple[int, int]]]:
    """Bounds `[latent]` of the intervals, and for categories {latent column: (first of its group, winner)}.

    Raises ConfigError for a name or a value that the model does not have.
    """
    known = {column.name: column for column in model.columns}
    unknown = sorted({*conditions.intervals, *conditions.categories} - set(known))
    if unknown:
        raise ConfigError(f"no descriptor {unknown[0]!r}; the model knows {', '.join(known)}.")
    numeric = sum(column.kind != "category" for column in model.columns)
    ends: list[tuple[float, float]] = []
    for column in model.columns[:numeric]:
        low, high = conditions.intervals.get(column.name, (-math.inf, math.inf))
        if column.kind == "continuous" and low == high:
            low, high = low - column.resolution / 2, high + column.resolution / 2
        elif column.kind == "count":
            low, high = (
                max(math.ceil(low), 0) if low > 0 else 0.0,
                math.floor(high) + 1 if high < FAR else FAR,
            )
        ends.append((low, high))
    groups: dict[int, tuple[int, int]] = {}
    at = numeric
    for column in model.columns[numeric:]:
        if column.name in conditions.categories:
            winner = conditions.categories[column.name]
            groups |= {at + k: (at, at + winner) for k in range(len(column.categories))}
        at += len(column.categories)
    bounds = []
    for side in (0, 1):
        values = torch.tensor([end[side] for end in ends], dtype=torch.float64).clamp(-FAR, FAR)
        latent = torch.full((at,), FAR if side else -FAR, dtype=torch.float64)
        offset = 0
        for part, width in zip(model.parts.layers, model.parts.columns, strict=True):
            if offset >= numeric:
                break
            x = values[offset : offset + width]
            for layer in cast("Stack", part).layers[-2:]:  # Positive and Affine, or Affine alone: both grow
                x = layer(x[None].clamp(min=1e-30) if type(layer).__name__ == "Positive" else x[None],
                          None, Noise(torch.Generator()))[0][0]  # fmt: skip
            latent[offset : offset + width] = x.clamp(-FAR, FAR)
            offset += width
        bounds.append(latent)
    unbounded = torch.tensor([c.name not in conditions.intervals for c in model.columns[:numeric]])
    bounds[0][:numeric][unbounded], bounds[1][:numeric][unbounded] = -FAR, FAR
    return bounds[0], bounds[1], groups


@torch.inference_mode()
def draw(model: DescriptorFlow, conditions: Conditions, seed: int, particles: int = 128) -> Drawn:
    """One row that fulfills the conditions. Raises DivergedError when no particle can."""
    low, high, groups = latent_bounds(model, conditions)
    source = generator(seed, "sample")
    count = particles if conditions else 1
    v = torch.zeros(count, len(low), dtype=torch.float64)
    log_weight = torch.zeros(count, dtype=torch.float64)
    log_evidence, effective = 0.0, float(count)
    double = _double(model)
    for i in range(len(low)):
        bottom, top = low[i].expand(count), high[i].expand(count)
        if i in groups:
            first, winner = groups[i]
            if i == winner and i > first:
                bottom = v[:, first:i].max(1).values
            elif i > winner:
                top = v[:, winner]
        transform = double.lazy(None).meta(v).base
        ends = [transform(_with(v, i, edge))[:, i] for edge in (bottom, top)]
        z, mass = truncated_normal(ends[0], ends[1], torch.rand(count, dtype=torch.float64, generator=source))
        drawn = transform.inv(_with(v, i, z))[:, i]
        v[:, i] = torch.minimum(torch.maximum(drawn, bottom), top)
        log_weight = log_weight + mass
        if count == 1:
            continue
        top_weight = log_weight.max()
        if not torch.isfinite(top_weight):
            raise DivergedError("no row fulfills the conditions; widen them, or leave one out.")
        w = (log_weight - top_weight).exp()
        size = float(w.sum().square() / w.square().sum())
        effective = min(effective, size)
        if size < count / 2 or i == len(low) - 1:
            log_evidence += float(top_weight + w.mean().log())
            u = (torch.arange(count) + torch.rand((), dtype=torch.float64, generator=source)) / count
            rows = torch.searchsorted((w / w.sum()).cumsum(0), u).clamp(max=count - 1)
            v, log_weight = v[rows], torch.zeros_like(log_weight)
    chosen = int(torch.randint(count, (), generator=source))
    row = model.parts.inverse(v[chosen : chosen + 1].float(), None, Noise(source))[0]
    return Drawn(row.double(), log_evidence, effective)


def _double(model: DescriptorFlow) -> FromZuko:
    """The spline in 64 bits, made once: the ends of intervals lie far out in the tails."""
    if not hasattr(model, "_spline64"):
        from copy import deepcopy

        object.__setattr__(model, "_spline64", deepcopy(model.spline).double())
    return cast("FromZuko", model._spline64)


def _with(v: Tensor, i: int, values: Tensor) -> Tensor:
    out = v.clone()
    out[:, i] = values
    return out


def truncated_normal(low: Tensor, high: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The u-quantile of a standard normal between `low` and `high`, and the log of what lies between them.

    Intervals in the upper tail are mirrored, where differences of the distribution function keep their digits.
    """
    flip = low > 0
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    cdf_a, cdf_b = torch.special.ndtr(a), torch.special.ndtr(b)
    share = torch.where(flip, 1 - u, u)
    z = torch.special.ndtri((cdf_a + share * (cdf_b - cdf_a)).clamp(1e-300, 1 - 1e-16))
    mass = (cdf_b - cdf_a).clamp(min=0).log()
    z = torch.where(flip, -z, z)
    return torch.minimum(torch.maximum(z, low), high), mass
