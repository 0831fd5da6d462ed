"""What tells the mixture of every bond length: the kinds of all bonds, and the lengths of those before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.survae.sets import Mixture, places

FAR = 8.0
"""Standardized lengths are cut here on their way into the network, so that one odd bond does not drown the others."""


class BondNetwork(nn.Module):
    """A recurrent network over the bonds in their order: it sees all kinds, and the lengths of those before it."""

    means: Tensor
    scales: Tensor

    def __init__(
        self, means: list[float], scales: list[float], width: int, components: int, smallest: float
    ) -> None:
        super().__init__()
        self.register_buffer("means", torch.tensor(means), persistent=False)
        self.register_buffer("scales", torch.tensor(scales), persistent=False)
        self.components, self.smallest = components, smallest
        kinds = len(means)
        self.whole = nn.Sequential(nn.Linear(kinds, width), nn.SiLU(), nn.Linear(width, width))
        self.kind = nn.Embedding(kinds + 1, width)  # the last one stands before the first bond
        self.last = nn.Linear(2, width)
        self.recurrent = nn.GRU(2 * width, width, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(3 * width + 3, 2 * width), nn.SiLU(), nn.Linear(2 * width, 3 * components)
        )

    def forward(self, x: Tensor, kinds: Tensor) -> Mixture:
        """Mixtures `[b, n]` of lengths `x` `[b, n]` in Angstrom."""
        before, left = places(kinds)
        dtype = self.last.weight.dtype
        y = ((x.to(dtype) - self.means[kinds]) / self.scales[kinds]).clamp(-FAR, FAR)
        counts = F.one_hot(kinds, len(self.means)).sum(1).to(dtype)
        whole = self.whole(counts.log1p())[:, None].expand(-1, x.shape[1], -1)
        start = torch.full_like(kinds[:, :1], len(self.means))
        previous = self.kind(torch.cat([start, kinds[:, :-1]], 1))
        earlier = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
        known = torch.stack([earlier, earlier.square()], 2)
        state, _ = self.recurrent(torch.cat([previous + self.last(known), whole], 2))
        inside = before > 0
        place = [
            left.to(dtype).log(),
            inside.to(dtype),
            torch.where(inside, earlier, torch.zeros_like(earlier)),
        ]
        raw = self.head(torch.cat([state, whole, self.kind(kinds), torch.stack(place, 2)], 2))
        weight, center, width = raw.to(x.dtype).chunk(3, -1)
        scale = self.scales[kinds][..., None].to(x.dtype)
        spread = torch.linspace(-1.5, 1.5, self.components, dtype=x.dtype)
        return Mixture(
            weight.log_softmax(-1),
            self.means[kinds][..., None].to(x.dtype) + scale * (spread + center),
            self.smallest + scale * F.softplus(width - math.log(2.0)),
        )
