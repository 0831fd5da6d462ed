"""Lanes: molecules of equal size that share network calls, each with its own noise, grid and place on it.

A lane knows nothing of its neighbors, so molecules of different jobs and at different times may share a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.random import generator, stacked_normal
from models.edm.denoiser import Denoised, Denoiser
from models.edm.process import prior_scale

STATE = torch.float64  # the network runs in float32, the state that it moves in float64


@dataclass
class Lanes:
    """A bucket of b molecules of n atoms. `x` `[b, n, 3]` and `h` `[b, n, c]` are in the variance-exploding frame
    in scaled units; `grid` `[b, k + 1]` are each lane's noise levels, largest first, and `place` `[b]` its index.
    """

    x: Tensor
    h: Tensor
    grid: Tensor
    place: Tensor
    sources: list[torch.Generator]
    rows: list[int] = field(default_factory=list)
    estimate: Denoised | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        denoiser: Denoiser,
        n_atoms: int,
        seeds: Sequence[int],
        grid: Tensor,
        rows: list[int],
    ) -> Lanes:
        """Lanes drawn from the prior at the grid's first level, one per molecule seed; all on that grid `[k + 1]`."""
        device = denoiser.device
        sources = [generator(seed, "noise") for seed in seeds]
        empty = torch.zeros(len(seeds), n_atoms, 3 + denoiser.features.channels, dtype=STATE)
        lanes = cls(
            x=empty[..., :3],
            h=empty[..., 3:],
            grid=grid.expand(len(seeds), -1).to(device),
            place=torch.zeros(len(seeds), dtype=torch.long, device=device),
            sources=sources,
            rows=rows,
        )
        scale = prior_scale(float(grid[0]))
        noise_x, noise_h = lanes.noise(device)
        lanes.x, lanes.h = scale * noise_x, scale * noise_h
        return lanes

    def noise(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Fresh standard noise for positions (centered) and features, each lane from its own generator."""
        shape = (self.h.shape[1], 3 + self.h.shape[2])
        both = stacked_normal(self.sources, shape).to(device or self.x.device, STATE)
        return remove_mean(both[..., :3]), both[..., 3:]

    def level(self, ahead: int = 0) -> Tensor:
        """Each lane's noise level `[b]`, `ahead` places further on."""
        return self.grid.gather(1, (self.place + ahead).clamp(max=self.grid.shape[1] - 1)[:, None])[:, 0]

    def denoise(self, denoiser: Denoiser, x: Tensor, h: Tensor, level: Tensor) -> Denoised:
        """One network call; the answer in the state's precision is also kept as the lanes' current estimate."""
        kind = denoiser.dtype
        out = denoiser(x.to(kind), h.to(kind), level.to(kind))
        self.estimate = Denoised(remove_mean(out.x.to(STATE)), out.h.to(STATE), out.logits)
        return self.estimate
