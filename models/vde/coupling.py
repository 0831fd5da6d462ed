"""The paper's flow: couplings of the angle and the heights of the unfolded sphere."""

from __future__ import annotations

from typing import Literal

import torch
import zuko.nn
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.vde import sphere
from models.vde.circle import CircularSpline, Moebius
from models.vde.flows import SphericalFlow
from models.vde.splines import Spline


class CouplingFlow(SphericalFlow):
    """Layers that move every other cylinder coordinate, given those between (arXiv 2012.13311, section 4).

    Heights move by interval splines of `bins` bins, the angle by a mixture of `centers` Moebius maps or by a
    circular spline. It starts near the identity.
    """

    def __init__(
        self,
        size: int,
        generator: torch.Generator,
        *,
        layers: int = 8,
        circle: Literal["moebius", "spline"] = "moebius",
        centers: int = 12,
        bins: int = 16,
        hidden: int = 64,
    ) -> None:
        super().__init__(size)
        if layers < 1:
            raise ConfigError(f"{layers} layers were asked for; wanted at least 1.")
        self.layers = nn.ModuleList(
            _Coupling(size, layer % 2, circle, centers, bins, hidden, generator) for layer in range(layers)
        )

    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        angle, heights, before = sphere.to_cylinder(base)
        total = -before
        for layer in self.layers:
            angle, heights, step = layer(angle, heights, inverse=False)
            total = total + step
        s, after = sphere.from_cylinder(angle, heights)
        return s, total + after

    def inverse(self, s: Tensor) -> tuple[Tensor, Tensor]:
        angle, heights, before = sphere.to_cylinder(s)
        total = -before
        for layer in reversed(self.layers):
            angle, heights, step = layer(angle, heights, inverse=True)
            total = total + step
        base, after = sphere.from_cylinder(angle, heights)
        return base, total + after


class _Coupling(nn.Module):
    """Moves the coordinates of one parity (the angle is number 0), conditioned on the others."""

    def __init__(
        self, size: int, parity: int, circle: str, centers: int, bins: int, hidden: int, generator: torch.Generator
    ) -> None:  # fmt: skip
        super().__init__()
        indices = torch.arange(size - 2) + 1
        # On the circle itself there is nothing to alternate with: every layer moves the angle.
        self.moves_angle = parity == 0 or size == 2
        self.circle: type[Moebius | CircularSpline] = Moebius if circle == "moebius" else CircularSpline
        self.moved = (indices % 2 == parity).nonzero()[:, 0]
        self.kept = (indices % 2 != parity).nonzero()[:, 0]
        self.on_circle = self.circle.parameters(centers if circle == "moebius" else bins) * self.moves_angle
        self.on_interval = Spline.parameters(bins)
        inputs = len(self.kept) + (0 if self.moves_angle else 2)
        outputs = self.on_circle + len(self.moved) * self.on_interval
        self.network = zuko.nn.MLP(max(inputs, 1), outputs, [hidden, hidden], activation=nn.SiLU).to(
            torch.float64
        )
        _start(self.network, generator)

    def forward(self, angle: Tensor, heights: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        given = [heights[:, self.kept]]
        if not self.moves_angle:
            given += [angle.cos()[:, None], angle.sin()[:, None]]
        condition = torch.cat(given, 1)
        if not condition.shape[1]:  # nothing to look at: a map of constant parameters
            condition = torch.ones_like(angle)[:, None]
        values = self.network(condition)
        total = torch.zeros_like(angle)
        if self.moves_angle:
            turning = self.circle.from_parameters(values[:, : self.on_circle])
            angle, total = turning.inverse(angle) if inverse else turning.forward(angle)
        if len(self.moved):
            spline = Spline.from_parameters(
                values[:, self.on_circle :].reshape(len(angle), len(self.moved), self.on_interval)
            )
            old = heights[:, self.moved]
            new, steps = spline.inverse(old) if inverse else spline.forward(old)
            heights = heights.index_copy(1, self.moved, new)
            total = total + steps.sum(1)
        return angle, heights, total


def _start(network: nn.Module, generator: torch.Generator) -> None:
    """Weights from the generator given, the last layer small: near the identity, with gradients everywhere."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for layer in linear:
        scale = 0.01 if layer is linear[-1] else 1.0
        with torch.no_grad():
            layer.weight.normal_(0.0, scale / layer.in_features**0.5, generator=generator)
            layer.bias.normal_(0.0, 0.01 * scale, generator=generator)
