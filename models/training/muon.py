"""Muon (Jordan et al., 2024) in the precision that the processor multiplies fast.

torch's own always orthogonalizes in bfloat16. A processor that has to emulate it needs a hundred times longer for
that than in float32, more than for the gradient itself, and the result is no better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from models.core.precision import has_fast_bfloat16

QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """U V^T of matrices U S V^T `[k, m, n]`, but for singular values between 0.7 and 1.2, by five Newton-Schulz
    steps.
    """
    a, b, c = QUINTIC
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


class Muon(torch.optim.Muon):
    """torch's Muon with Nesterov momentum and steps of AdamW's size (0.2 times the root of the longer side)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every matrix that has a gradient."""
        if closure is not None:
            raise NotImplementedError("this Muon takes no closure.")
        for group in self.param_groups:
            rate, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
            for same in _of_one_shape([p for p in group["params"] if p.grad is not None]):
                gradients = [p.grad for p in same if p.grad is not None]
                memory = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in same]
                torch._foreach_lerp_(memory, gradients, 1 - momentum)
                looking_ahead = torch.stack(torch._foreach_lerp(gradients, memory, momentum))
                fast = has_fast_bfloat16(looking_ahead.device)
                updates = orthogonal(looking_ahead, torch.bfloat16 if fast else torch.float32)
                torch._foreach_mul_(same, 1 - rate * decay)
                scale = 0.2 * max(same[0].shape) ** 0.5
                torch._foreach_add_(same, updates.unbind(), alpha=-rate * scale)
        return None


def _of_one_shape(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Matrices of equal shape together: a GPU turns a few large products faster than many small ones."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    return list(groups.values())
