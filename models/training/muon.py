"""Muon (Jordan et al., 2024) in the precision that the processor multiplies fast.

torch's own always orthogonalizes in bfloat16. A processor that has to emulate it needs a hundred times longer for
that than in float32, more than for the gradient itself, and the result is no better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.core.precision import has_fast_bfloat16

QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """U V^T of a matrix U S V^T, but for singular values between 0.7 and 1.2, by five Newton-Schulz steps."""
    a, b, c = QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Muon):
    """torch's Muon with Nesterov momentum and steps of AdamW's size (0.2 times the root of the longer side)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every matrix that has a gradient."""
        if closure is not None:
            raise NotImplementedError("this Muon takes no closure.")
        for group in self.param_groups:
            rate, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                memory = self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
                memory.lerp_(parameter.grad, 1 - momentum)
                fast = has_fast_bfloat16(parameter.device)
                update = orthogonal(
                    parameter.grad.lerp(memory, momentum), torch.bfloat16 if fast else torch.float32
                )
                parameter.mul_(1 - rate * decay)
                parameter.add_(update, alpha=-rate * 0.2 * max(parameter.shape) ** 0.5)
        return None
