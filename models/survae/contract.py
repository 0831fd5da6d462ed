"""What every layer promises, whatever it is: a bijection, a stochastic transform or a surjection.

log p(x) = log p(z) + sum of contributions, exactly or as a lower bound in expectation over the layers' own draws.
A layer is exact when its inverse leaves no choice to the direction data to latent: bijections, and surjections from
data to latent (abs, max, sort, slice), which draw only when they generate. The others give bounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError

Support = Literal["real", "positive", "ordered", "chambers", "unit", "counts", "integers", "categories"]
"""Where values live: R^d, (0, inf)^d, ascending vectors, positive vectors that ascend within each kind that the
context tells, (0, 1)^d, {0, 1, ...}^d, Z^d, {0 .. K-1}.
"""


class Move(NamedTuple):
    """Where a value went, and the layer's contribution to log p, `[b]` in nats."""

    value: Tensor
    contribution: Tensor


class Noise:
    """Random numbers of a batch: from one generator, or for row i from generator i, so that a row comes out the
    same in any batch.
    """

    def __init__(self, source: torch.Generator | Sequence[torch.Generator]) -> None:
        self.source = source

    def uniform(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), `[b, *shape]` with the batch and type of `like`."""
        if isinstance(source := self.source, torch.Generator):
            drawn = torch.rand(len(like), *shape, dtype=like.dtype, generator=source, device=source.device)
            return drawn.to(like.device)
        rows = [torch.rand(*shape, dtype=like.dtype, generator=each) for each in self._rows(like)]
        return torch.stack(rows).to(like.device)

    def normal(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Standard normal, `[b, *shape]`."""
        if isinstance(source := self.source, torch.Generator):
            drawn = torch.randn(len(like), *shape, dtype=like.dtype, generator=source, device=source.device)
            return drawn.to(like.device)
        rows = [torch.randn(*shape, dtype=like.dtype, generator=each) for each in self._rows(like)]
        return torch.stack(rows).to(like.device)

    def _rows(self, like: Tensor) -> Sequence[torch.Generator]:
        if isinstance(self.source, torch.Generator) or len(self.source) != len(like):
            raise ConfigError(f"noise for {len(like)} rows needs as many generators.")
        return self.source


class Layer(nn.Module, ABC):
    """One step between data x and latent z."""

    exact: bool = True
    takes: Support = "real"

    def gives(self, given: Support) -> Support:
        """The support of z when x fills `given`. Raises ConfigError where mass would be lost."""
        if given != self.takes:
            raise ConfigError(f"{type(self).__name__} takes {self.takes} values, but is given {given} ones.")
        return "real"

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:
        """x `[b, ...]` to z and the contribution."""

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        """z to x, by chance where the layer leaves a choice."""


class Stack(Layer):
    """Layers from data to latent, checked when assembled: each takes the support that the one before it gives."""

    def __init__(self, layers: Sequence[Layer], takes: Support = "real") -> None:
        super().__init__()
        self.takes = takes
        self.given = takes
        for layer in layers:
            self.given = layer.gives(self.given)
        self.layers = nn.ModuleList(layers)
        self.exact = all(layer.exact for layer in layers)

    def gives(self, given: Support) -> Support:
        super().gives(given)
        return self.given

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:
        total = x.new_zeros(len(x), dtype=torch.promote_types(x.dtype, torch.float32))
        for layer in self.layers:
            x, contribution = layer(x, context, noise)
            total = total + contribution
        return Move(x, total)

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        for layer in reversed(self.layers):
            z = layer.inverse(z, context, noise)  # type: ignore[operator]
        return z


class Parts(Layer):
    """Groups of columns, each through a layer of its own; what they give is laid side by side.

    This is how rows of mixed kinds come together: counts, categories and real numbers each take their own way to R^d.
    columns: how many columns each part takes; latent: how many it gives.
    """

    def __init__(self, layers: Sequence[Layer], columns: Sequence[int], latent: Sequence[int]) -> None:
        super().__init__()
        if not len(layers) == len(columns) == len(latent):
            raise ConfigError("every part needs a layer, a number of columns and a number of latent columns.")
        found = {layer.gives(layer.takes) for layer in layers}
        if found != {"real"}:
            raise ConfigError(
                f"parts lie side by side only in R^d; these give {', '.join(sorted(found))} values."
            )
        self.layers = nn.ModuleList(layers)
        self.columns, self.latent = list(columns), list(latent)
        self.exact = all(layer.exact for layer in layers)

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:
        moves = [
            layer(part, context, noise)
            for layer, part in zip(self.layers, torch.split(x, self.columns, 1), strict=True)
        ]
        total = torch.stack([move.contribution for move in moves]).sum(0)
        return Move(torch.cat([move.value for move in moves], 1), total)

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        parts = [
            layer.inverse(part, context, noise)  # type: ignore[operator]
            for layer, part in zip(self.layers, torch.split(z, self.latent, 1), strict=True)
        ]
        return torch.cat(parts, 1)
