"""Continuous flows: points and features carried along a vector field, with the change of their volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.divergence import centered_directions
from models.core.errors import ConfigError
from models.core.ode import Solver, solve
from models.enf.field import Field
from models.enf.trace import exact_trace

Divergence = Literal["none", "exact", "hutchinson"]


class Carried(NamedTuple):
    """Points at the end of a flow: positions `[b, n, d]`, features `[b, n, c]`, the change of log volume `[b]`
    (the integral of the divergence, 0 without one), the field's calls `[b]`, and the regularization `[b]`.
    """

    x: Tensor
    h: Tensor
    log_volume: Tensor
    calls: Tensor
    regularization: Tensor


def centered_state(state: Tensor, dimensions: int) -> Tensor:
    """States `[b, n, d + c]` with the mean of their position channels removed."""
    return torch.cat([remove_mean(state[..., :dimensions]), state[..., dimensions:]], -1)


def hutchinson_product(
    velocity: Callable[[Tensor], Tensor], at: Tensor, probe: Tensor, *, graph: bool
) -> tuple[Tensor, Tensor]:
    """The field and probe^T J `[b, n, c]`; differentiable further when `graph`."""
    with torch.enable_grad():
        if not at.requires_grad:
            at = at.detach().requires_grad_()
        value = velocity(at)
        (product,) = torch.autograd.grad(value, at, probe, create_graph=graph)
    return (value, product) if graph else (value.detach(), product)


def carry(
    field: Field, x: Tensor, h: Tensor, start: float, end: float, solver: Solver,
    *, divergence: Divergence = "none", probe: Tensor | None = None,
    regularize: bool = False, train: bool = False, chunk: int = 64, watch: Callable[[], None] = lambda: None,
) -> Carried:  # fmt: skip
    """Carry centered positions `[b, n, d]` and features `[b, n, c]` from time `start` to `end`.

    hutchinson takes a `probe` `[b, n, d + c]` of zero mean and unit variance, held fixed along the way, and is
    an unbiased estimate of the divergence; exact makes d(n-1) + nc Jacobian products a call, `chunk` at a time,
    within the centered subspace. `regularize` integrates |probe^T J|^2 + |dx|^2 + |dh|^2 too, as published.
    `train` keeps the graph for gradients and needs fixed steps.
    """
    d, n = x.shape[-1], x.shape[-2]
    if divergence == "hutchinson" and probe is None:
        raise ConfigError("Hutchinson's estimator needs a probe.")
    if train and (solver.steps is None or divergence == "exact"):
        raise ConfigError("training through the flow needs fixed steps and Hutchinson's estimator or none.")
    directions = (
        centered_directions(n, d, h.shape[-1], dtype=x.dtype).to(x.device) if divergence == "exact" else None
    )

    def slope(t: Tensor, at: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        def velocity(state: Tensor) -> Tensor:
            return torch.cat(field(t, state[..., :d], state[..., d:]), -1)

        if directions is not None:
            value, found = exact_trace(field, t, at, directions, d, chunk=chunk)
            return value, found[:, None]
        if divergence == "hutchinson" and probe is not None:
            noise = probe if len(rows) == len(probe) else probe[rows]
            value, product = hutchinson_product(velocity, at, noise, graph=train)
            rates = [(product * noise).sum((-1, -2))]
            if regularize:
                rates.append(product.square().sum((-1, -2)) + value.square().sum((-1, -2)))
            return value, torch.stack(rates, 1)
        value = velocity(at)
        return value, value.new_zeros(len(value), 0)

    state = torch.cat([x, h], -1)
    with torch.set_grad_enabled(train):
        found = solve(slope, state, start, end, solver, watch=watch)
    none = found.state.new_zeros(len(state))
    sums = found.integrals
    return Carried(
        found.state[..., :d],
        found.state[..., d:],
        sums[:, 0] if sums.shape[1] else none,
        found.calls,
        sums[:, 1] if sums.shape[1] > 1 else none,
    )
