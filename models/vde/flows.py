"""What every spherical flow can do, and flows joined one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.vde import sphere


class SphericalFlow(nn.Module):
    """A bijection of the sphere S^(n-1); log-Jacobians are those of the tangent spaces."""

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 2:
            raise ConfigError(f"a spherical flow needs at least 2 dimensions; {size} were asked for.")
        self.size = size

    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """Points `[b, n]` to points `[b, n]` and log-Jacobians `[b]`."""
        raise NotImplementedError

    def inverse(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The points that `forward` took to `s`, and the log-Jacobians of the inverse."""
        raise NotImplementedError

    def log_prob(self, s: Tensor) -> Tensor:
        """Log-density `[b]` in nats with respect to the sphere's area, of the uniform base pushed forward."""
        if s.dim() != 2 or s.shape[1] != self.size:
            raise ShapeError("s", s.shape, f"[points, {self.size}]")
        return self.inverse(s)[1] - sphere.log_area(self.size)

    def sample(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points `[samples, n]` and the log-Jacobians `[samples]` on the way to them."""
        out: tuple[Tensor, Tensor] = self(sphere.uniform(samples, self.size, generator))
        return out


class Composition(SphericalFlow):
    """Flows of the same sphere, the first one first."""

    def __init__(self, flows: Sequence[SphericalFlow]) -> None:
        sizes = {flow.size for flow in flows}
        if len(sizes) != 1:
            raise ConfigError(f"flows of one sphere are needed; given were sizes {sorted(sizes)}.")
        super().__init__(sizes.pop())
        self.flows = nn.ModuleList(flows)

    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(base), dtype=base.dtype)
        for flow in self.flows:
            base, step = flow(base)
            total = total + step
        return base, total

    def inverse(self, s: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(s), dtype=s.dtype)
        for flow in reversed(self.flows):
            s, step = cast("SphericalFlow", flow).inverse(s)
            total = total + step
        return s, total
