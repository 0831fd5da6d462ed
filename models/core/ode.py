"""Runge-Kutta integration of many independent systems at once, each with steps of its own.

Common solvers take one step size for a whole batch, so what comes out for one system depends on its neighbors. Here
every row accepts, rejects and ends on its own; rows that have arrived take no further part in the calls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.core.errors import ConfigError

Method = Literal["dopri5", "rk4", "heun", "euler"]

Slope = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(t `[k]`, state `[k, ...]`, rows `[k]`) to the state's slope `[k, ...]` and those of the integrals `[k, m]`."""


class Tableau(NamedTuple):
    """Butcher's table of an explicit method: `error` weighs the stages for the difference to the embedded method."""

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] = ()


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau((0.0,), ((),), (1.0,)),
    "heun": Tableau((0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": Tableau((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    # Dormand and Prince (1980); the last stage of a step is the first of the next one.
    "dopri5": Tableau(
        (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
        (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Solver:
    """How to integrate: adaptively to a `tolerance` (relative and absolute, dopri5 only), or in so many `steps`.

    Exactly one of the two is given. Steps are equal, or with `refine` equal in log(t + refine), which makes them
    smaller near t = 0. most_calls bounds the slope calls of an adaptive row.
    """

    method: Method = "dopri5"
    tolerance: float | None = None
    steps: int | None = None
    refine: float | None = None
    most_calls: int = 20_000

    def __post_init__(self) -> None:
        if self.method not in TABLEAUS:
            raise ConfigError(f"method is {self.method!r}; choose one of {', '.join(TABLEAUS)}.")
        if (self.tolerance is None) == (self.steps is None):
            raise ConfigError("a solver takes either a tolerance or a number of steps.")
        if self.tolerance is not None and (self.tolerance <= 0 or not TABLEAUS[self.method].error):
            raise ConfigError("a tolerance must be positive and needs the method dopri5.")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps is {self.steps}, but at least 1 is needed.")
        if self.refine is not None and (self.refine <= 0 or self.steps is None):
            raise ConfigError("refine must be positive and belongs to a number of steps.")

    def calls(self) -> int | None:
        """Slope calls of a row where that is known beforehand."""
        if self.steps is None:
            return None
        return self.steps * (6 if self.method == "dopri5" else len(TABLEAUS[self.method].nodes)) + (
            self.method == "dopri5"
        )


class Solution(NamedTuple):
    """Where every row ended: `state` `[b, ...]`, `integrals` `[b, m]`, and the slope `calls` `[b]` it took."""

    state: Tensor
    integrals: Tensor
    calls: Tensor


def each(values: Tensor, like: Tensor) -> Tensor:
    """One number a row, shaped to multiply `like` `[b, ...]`."""
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


def combined(base: Tensor, step: Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """base + step * sum of weights * slopes."""
    terms = [slope * weight for weight, slope in zip(weights, slopes, strict=False) if weight]
    return base + each(step, base) * torch.stack(terms).sum(0) if terms else base


def solve(
    slope: Slope, state: Tensor, start: float, end: float, solver: Solver,
    *, watch: Callable[[], None] = lambda: None,
) -> Solution:  # fmt: skip
    """Integrate every row of `state` `[b, ...]` and its integrals (zero at the start) from time `start` to `end`.

    `watch` is called before every slope call and may raise. The result is differentiable with fixed steps. A row
    whose numbers leave the finite range, or which needs more than `solver.most_calls`, ends as NaN and spoils only
    itself.
    """
    if start == end:
        raise ConfigError("start and end of an integration must differ.")

    def watched(t: Tensor, at: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        watch()
        return slope(t, at, rows)

    if solver.steps is not None:
        return fixed(watched, state, edges(start, end, solver.steps, solver.refine), solver.method)
    return adaptive(watched, state, start, end, float(solver.tolerance or 0), solver.most_calls)


def edges(start: float, end: float, steps: int, refine: float | None) -> list[float]:
    """Where `steps` steps begin and end."""
    u = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
    if refine is None:
        out = start + (end - start) * u
    else:
        low, high = math.log(start + refine), math.log(end + refine)
        out = (low + (high - low) * u).exp() - refine
    return [start, *out[1:-1].tolist(), end]


def fixed(slope: Slope, state: Tensor, times: list[float], method: str) -> Solution:
    """Steps between given times; the same slope calls for every row."""
    table = TABLEAUS[method]
    b = len(state)
    rows = torch.arange(b, device=state.device)
    total: Tensor | None = None
    calls = 0
    last: tuple[Tensor, Tensor] | None = None
    for begin, finish in itertools.pairwise(times):
        step = torch.full((b,), finish - begin, dtype=torch.float64, device=state.device)
        slopes: list[Tensor] = []
        rates: list[Tensor] = []
        for node, weights in zip(table.nodes, table.stages, strict=True):
            if last is not None and not slopes:
                found = last
            else:
                time = begin + node * (finish - begin)
                t = torch.full((b,), time, dtype=state.dtype, device=state.device)
                found = slope(t, combined(state, step, weights, slopes), rows)
                calls += 1
            slopes.append(found[0])
            rates.append(found[1])
        state = combined(state, step, table.weights, slopes)
        before = torch.zeros_like(rates[0]) if total is None else total
        total = combined(before, step, table.weights, rates)
        last = (slopes[-1], rates[-1]) if table.error else None
    integrals = state.new_zeros(b, 0) if total is None else total
    return Solution(state, integrals, torch.full((b,), calls, device=state.device))


def row_size(values: Tensor) -> Tensor:
    """Root mean square of each row, float64 `[b]`; 0 for rows without numbers."""
    if values.numel() == 0:
        return values.new_zeros(len(values), dtype=torch.float64)
    return values.double().square().flatten(1).mean(1).sqrt()


def row_error(error: Tensor, before: Tensor, after: Tensor, tolerance: float) -> Tensor:
    """Each row's error in units of the tolerance, `[b]`.

    Root mean squares of whole rows are compared, not components, so turning a molecule changes no step.
    """
    return row_size(error) / (tolerance * (1 + torch.maximum(row_size(before), row_size(after))))


@torch.no_grad()
def adaptive(
    slope: Slope, state: Tensor, start: float, end: float, tolerance: float, most_calls: int
) -> Solution:
    """Steps of Dormand and Prince, each row with its own size: errors of state and integrals below the tolerance."""
    table = TABLEAUS["dopri5"]
    b, span, sign = len(state), abs(end - start), math.copysign(1.0, end - start)
    device = state.device
    state = state.clone()
    time = torch.full((b,), start, dtype=torch.float64, device=device)
    active = torch.arange(b, device=device)
    first, rate = slope(time.to(state.dtype), state, active)
    total = torch.zeros_like(rate)
    calls = torch.ones(b, dtype=torch.long, device=device)
    # Hairer's first guess: a hundredth of the time in which the state would change by itself.
    size, speed = row_size(state), row_size(first)
    step = (0.01 * (size + 1e-3) / (speed + 1e-6)).nan_to_num(0.0).clamp(1e-4 * span, 0.1 * span)
    while len(active):
        spent = active[calls[active] > most_calls]
        state[spent], total[spent] = math.nan, math.nan
        active = active[calls[active] <= most_calls]
        if not len(active):
            break
        y, s, t = state[active], total[active], time[active]
        width = torch.minimum(step[active], (end - t).abs())
        signed = sign * width
        slopes, rates = [first[active]], [rate[active]]
        for node, weights in zip(table.nodes[1:], table.stages[1:], strict=True):
            f, g = slope((t + node * signed).to(y.dtype), combined(y, signed, weights, slopes), active)
            slopes.append(f)
            rates.append(g)
        calls[active] += 6
        moved = combined(y, signed, table.weights, slopes)
        summed = combined(s, signed, table.weights, rates)
        wrong_y = combined(torch.zeros_like(y), signed, table.error, slopes)
        wrong_s = combined(torch.zeros_like(s), signed, table.error, rates)
        error = torch.maximum(
            row_error(wrong_y, y, moved, tolerance), row_error(wrong_s, s, summed, tolerance)
        )
        lost = ~torch.isfinite(error)
        # A row whose numbers are lost even at the smallest step is carried to the end as it is.
        accepted = (error <= 1) | (lost & (width <= 1e-6 * span))
        good = active[accepted]
        state[good], total[good] = moved[accepted], summed[accepted]
        first[good], rate[good] = slopes[-1][accepted], rates[-1][accepted]
        time[good] = torch.where(lost, torch.full_like(t, end), t + signed)[accepted]
        factor = (0.9 * error.clamp(min=1e-8).pow(-0.2)).clamp(0.2, 10.0)
        factor = torch.where(lost, torch.full_like(factor, 0.2), factor)
        factor = torch.where(accepted, factor, factor.clamp(max=1.0))
        step[active] = width * factor
        arrived = (end - time[active]).abs() <= 1e-12 * span
        active = active[~arrived]
    return Solution(state, total, calls)
