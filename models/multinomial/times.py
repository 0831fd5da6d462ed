"""Which times are trained: those whose terms of the bound vary most, by q(t) ~ sqrt(E L_t^2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        roots = (self.squares + 1e-10).sqrt() + 1e-4
        if steps > 1:
            roots = torch.cat([roots[1:2], roots[1:]])
        # Without a branch on the buffers, which would make the processor wait for a GPU.
        return torch.where((self.seen <= WARM_UP).any(), 1.0 / steps, roots / roots.sum())

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times `[n]` in 1..T, and their q(t)."""
        q = self.probabilities
        uniform = torch.rand(n, generator=generator, dtype=torch.float64, device=generator.device).to(
            q.device
        )
        t = torch.searchsorted(q.cumsum(0), uniform, right=True).clamp_max(len(q) - 1)
        return t + 1, q[t]

    @torch.no_grad()
    def update(self, t: Tensor, losses: Tensor) -> None:
        """Take in the terms `[n]` that were found at times `[n]`."""
        at = F.one_hot(t - 1, len(self.seen)).double()
        count = at.sum(0)
        mean = losses.double().square() @ at / count.clamp(min=1)
        # Several terms at one time count as their mean, once for each.
        rate = torch.where(self.seen > 0, 1 - (1 - DECAY) ** count, (count > 0).double())
        self.squares += rate * (mean - self.squares)
        self.seen += count
