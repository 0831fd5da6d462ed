"""The exact trace of a field's Jacobian within given directions."""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.divergence import exact_divergence
from models.egnn.linearized import supports
from models.enf.field import Field, VectorField


def exact_trace(
    field: Field, t: Tensor, state: Tensor, directions: Tensor, dimensions: int, *, chunk: int
) -> tuple[Tensor, Tensor]:
    """The velocities `[b, n, d + c]` at times `[b]` of states `[b, n, d + c]`, and their divergence `[b]` within the
    span of orthonormal `directions` `[k, n, d + c]`, `chunk` of them at a time.

    By the field linearized by hand where it knows how, else by automatic forward mode. Without gradients.
    """
    x, h = state[..., :dimensions], state[..., dimensions:]
    if not (isinstance(field, VectorField) and supports(field.network)):
        return exact_divergence(
            lambda s: torch.cat(field(t, s[..., :dimensions], s[..., dimensions:]), -1),
            state, directions, chunk=chunk,
        )  # fmt: skip
    with torch.no_grad():
        dx_dt, dh_dt, push = field.linearized(t, x, h)
        total = state.new_zeros(len(state))
        for part in torch.split(directions, chunk):
            along = part[:, None].expand(-1, *state.shape)
            dx, dh = along[..., :dimensions], along[..., dimensions:]
            moved_x, moved_h = push(dx, dh)
            total += (moved_x * dx).sum((0, 2, 3)) + (moved_h * dh).sum((0, 2, 3))
    return torch.cat([dx_dt, dh_dt], -1), total
