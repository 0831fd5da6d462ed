"""Which times are trained: those whose terms of the bound vary most, by q(t) ~ sqrt(E L_t^2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WARM_UP = 10
DECAY = 0.1


class TimeSampler(nn.Module):
    """Running means of L_t^2 for t = 1..T as buffers; uniform until every time was seen more than ten times.

    The first term (t = 1, the decoder's) is given the weight of the second, which is steadier.
    """

    squares: Tensor
    seen: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.register_buffer("squares", torch.zeros(steps, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(steps, dtype=torch.float64))

    @property
    def probabilities(self) -> Tensor:
        """q(t) for t = 1..T, `[T]`."""
        steps = len(self.seen)
        if bool((self.seen <= WARM_UP).any()):
            return torch.full((steps,), 1.0 / steps, dtype=torch.float64)
        roots = (self.squares + 1e-10).sqrt() + 1e-4
        if steps > 1:
            roots[0] = roots[1]
        return roots / roots.sum()

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times `[n]` in 1..T, and their q(t)."""
        q = self.probabilities
        uniform = torch.rand(n, generator=generator, dtype=torch.float64)
        t = torch.searchsorted(q.cumsum(0), uniform, right=True).clamp_max(len(q) - 1)
        return t + 1, q[t]

    @torch.no_grad()
    def update(self, t: Tensor, losses: Tensor) -> None:
        """Take in the terms `[n]` that were found at times `[n]`."""
        for time, loss in zip((t - 1).tolist(), losses.double().tolist(), strict=True):
            rate = DECAY if self.seen[time] else 1.0
            self.squares[time] += rate * (loss * loss - self.squares[time])
            self.seen[time] += 1
