"""A stack of layers closed by a factorised prior: an exact density over categorical vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.ddf.layers import Coupling, FactorisedPrior, Layer, Split

KNOWN = {"dimensions", "classes", "width", "depth", "layers"}


class DiscreteFlow(nn.Module):
    """log p(x) = log prior(f(x)) + log-probabilities of what was split off, for x in {0..K-1}^d.

    `layers` names the kinds in order; both halve what they get, rounding the given half up. Sums to one over
    all x whatever the weights, because f is a bijection and every prior is normalised.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(
                f"discrete flow: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}."
            )
        self.dimensions, self.classes = int(config["dimensions"]), int(config["classes"])
        if self.dimensions < 2 or self.classes < 2:
            raise ConfigError(
                f"discrete flow: {self.dimensions} dimensions of {self.classes} classes; both need 2."
            )
        self.width, self.depth = int(config["width"]), int(config["depth"])
        self.layers = nn.ModuleList()
        self.prior = FactorisedPrior(self.dimensions, self.classes)
        for kind in config["layers"]:
            self.append(self.new_layer(kind))

    @property
    def config(self) -> dict[str, Any]:
        """What the constructor needs; layers that were added by training are in it."""
        kinds = ["split" if isinstance(layer, Split) else "coupling" for layer in self.layers]
        return {
            "dimensions": self.dimensions, "classes": self.classes, "width": self.width, "depth": self.depth,
            "layers": kinds,
        }  # fmt: skip

    @property
    def remaining(self) -> int:
        """Dimensions that reach the factorised prior."""
        left = self.dimensions
        for layer in self.layers:
            if isinstance(layer, Split):
                left = layer.given
        return left

    def new_layer(self, kind: str) -> Layer:
        """A layer that fits at the end, not yet part of the flow. Raises ConfigError for an unknown kind."""
        made = {"coupling": Coupling, "split": Split}.get(kind)
        if made is None:
            raise ConfigError(f"discrete flow: a layer is {kind!r}; choose coupling or split.")
        left = self.remaining
        if left < 2:
            raise ConfigError("discrete flow: nothing is left to divide; leave out the last layers.")
        return made(left, self.classes, left // 2, self.width, self.depth)

    def append(self, layer: Layer) -> None:
        """Add a layer at the end; the prior behind it is uniform until it is fitted."""
        self.layers.append(layer)
        self.prior = FactorisedPrior(self.remaining, self.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latent classes `[b, remaining]` and the log-probability of what was split off `[b]`."""
        if x.dim() != 2 or x.shape[1] != self.dimensions:
            raise ShapeError("x", x.shape, f"[b, {self.dimensions}]")
        z, logs = x.long(), torch.zeros(len(x), dtype=torch.float64)
        for layer in self.layers:
            if isinstance(layer, Split):
                z, part = layer(z)
                logs = logs + part
            else:
                z = layer(z)
        return z, logs

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x) in nats `[b]`, float64, of classes `[b, d]`."""
        z, logs = self.forward(x)
        return logs + self.prior.log_prob(z)

    def sample(self, sources: Sequence[torch.Generator]) -> Tensor:
        """One vector `[d]` per generator: `[len(sources), d]`."""
        uniform = torch.empty(len(sources), self.dimensions, dtype=torch.float64)
        for row, source in zip(uniform, sources, strict=True):
            row.uniform_(generator=source)
        z, used = self.prior.sample(uniform[:, : self.remaining]), self.remaining
        for layer in reversed(list(self.layers)):
            if isinstance(layer, Split):
                asked = layer.network.asked
                z = layer.inverse(z, uniform[:, used : used + asked])
                used += asked
            elif isinstance(layer, Coupling):
                z = layer.inverse(z)
        return z
