"""Every bond given all others: which one is odd, and what it should be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.survae_conformers.model import BondLengthFlow

STEP = 0.002
"""Angstrom between the points of the quadrature; the density has no feature narrower than a few of them."""

MARGIN = 0.08
"""Angstrom beyond the shortest and the longest bond of a kind in the training data where the quadrature ends."""

ROWS = 4096
"""Sets that go through the network at once."""


@dataclass(frozen=True)
class Alone:
    """Of every bond given all others, `[n]` each: log-density, median, central 90 % interval, two-sided p-value."""

    log_density: Tensor
    expected: Tensor
    low: Tensor
    high: Tensor
    p_value: Tensor


@torch.inference_mode()
def leave_one_out(model: BondLengthFlow, lengths: Tensor, kinds: Tensor) -> Alone:
    """p(x_i | all others) = p(x) / integral of p(x) over x_i, for lengths `[n]` float64 and kinds `[n]`.

    Independent of the order of the bonds. A length outside of the quadrature has the p-value 0.
    """
    whole = model.log_prob(lengths[None], kinds[None])[0]
    grids = [_grid(model, int(kind)) for kind in kinds]
    rows = torch.cat([_replaced(lengths, i, grid) for i, grid in enumerate(grids)])
    found = torch.cat([model.log_prob(part, kinds.expand(len(part), -1)) for part in torch.split(rows, ROWS)])
    columns: list[tuple[Tensor, ...]] = []
    for i, (grid, log_p) in enumerate(
        zip(grids, torch.split(found, [len(grid) for grid in grids]), strict=True)
    ):
        step = grid[1] - grid[0]
        total = log_p.logsumexp(0) + step.log()
        weight = (log_p - total).exp() * step
        below = weight.cumsum(0) - 0.5 * weight  # of the distribution function at the points
        low, middle, high = (_interpolate(torch.tensor(q).double(), below, grid) for q in (0.05, 0.5, 0.95))
        under = _interpolate(lengths[i], grid, below)
        under = torch.where(lengths[i] < grid[0], 0.0, torch.where(lengths[i] > grid[-1], 1.0, under))
        columns.append((whole - total, middle, low, high, 2 * torch.minimum(under, 1 - under)))
    return Alone(*(torch.stack(column) for column in zip(*columns, strict=True)))


def _grid(model: BondLengthFlow, kind: int) -> Tensor:
    low, high = model.kinds[kind].low - MARGIN, model.kinds[kind].high + MARGIN
    low = max(low, STEP)
    return torch.linspace(low, high, round((high - low) / STEP) + 1, dtype=torch.float64)


def _replaced(lengths: Tensor, i: int, grid: Tensor) -> Tensor:
    rows = lengths.expand(len(grid), -1).clone()
    rows[:, i] = grid
    return rows


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """y at the value `at` of ascending x."""
    right = int(torch.searchsorted(x, at).clamp(1, len(x) - 1))
    share = ((at - x[right - 1]) / (x[right] - x[right - 1]).clamp_min(1e-300)).clamp(0, 1)
    return y[right - 1] + share * (y[right] - y[right - 1])
