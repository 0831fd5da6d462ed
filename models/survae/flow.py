"""A stack of layers on a base density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.core.likelihood import Kind
from models.survae.contract import Layer, Noise, Stack, Support


class Base(Protocol):
    """A density of the latent values."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density `[b]`."""

    def sample(self, like: Tensor, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draws `[b, *shape]`."""


def importance_weighted(draws: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean of exp of draws `[k, ...]`, and its standard error by the delta method; k is at least 2."""
    weights = torch.exp(draws - draws.max(0).values)
    error = weights.std(0) / weights.mean(0) / math.sqrt(len(draws))
    return draws.logsumexp(0) - math.log(len(draws)), error


class SurVAE(nn.Module):
    """A density by layers: exact when all layers are, else a bound. The base must fill what the last layer gives."""

    def __init__(
        self,
        layers: Sequence[Layer],
        base: nn.Module,
        shape: Sequence[int],
        *,
        takes: Support = "real",
        base_fills: Support = "real",
    ) -> None:
        super().__init__()
        self.stack = Stack(layers, takes)
        if self.stack.given != base_fills:
            raise ConfigError(
                f"the layers give {self.stack.given} values, but the base fills {base_fills} ones: "
                "mass would be lost."
            )
        self.base, self.shape = base, tuple(shape)

    @property
    def exact(self) -> bool:
        """Whether `log_prob` can be had."""
        return self.stack.exact

    @property
    def kind(self) -> Kind:
        """What `once` gives."""
        return "exact" if self.exact else "lower_bound"

    def once(self, x: Tensor, noise: Noise, context: Tensor | None = None) -> Tensor:
        """log p(x) `[b]` in nats, or one draw of its lower bound; with respect to x's own measure (see `Support`)."""
        z, contribution = self.stack(x, context, noise)
        log_base: Tensor = self.base.log_prob(z)  # type: ignore[operator]
        total: Tensor = log_base + contribution
        return total

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-density `[b]`. Raises ConfigError when a layer allows only a bound."""
        if not self.exact:
            names = sorted({type(layer).__name__ for layer in self.stack.layers if not layer.exact})
            raise ConfigError(f"{', '.join(names)} allow only a bound: call elbo.")
        return self.once(x, Noise(torch.Generator()), context)

    def elbo(
        self, x: Tensor, noise: Noise, draws: int = 1, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Importance-weighted bound `[b]` of so many draws and the standard error `[b]` of its estimate.

        The bound grows to log p(x) with the draws; the error is that of the mean weight, by the delta method.
        """
        found = torch.stack([self.once(x, noise, context) for _ in range(1 if self.exact else draws)])
        if len(found) == 1:
            return found[0], torch.zeros_like(found[0]) if self.exact else torch.full_like(found[0], math.nan)
        return importance_weighted(found)

    def sample(self, like: Tensor, noise: Noise, context: Tensor | None = None) -> Tensor:
        """Draws `[b, ...]`, with the batch, type and device of `like` `[b]`."""
        z = self.base.sample(like, self.shape, noise)  # type: ignore[operator]
        return self.stack.inverse(z, context, noise)
