"""Part of the numbers moved by maps that the others choose, and a linear map of every place between such steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.argmax_flow.codes import Codes
from models.argmax_flow.univariate import Univariate
from models.strings.transformer import Transformer, TransformerConfig, one_hot
from models.survae.bijections import Linear
from models.survae.contract import Layer, Move, Noise

Split = Literal["even", "odd", "first", "last"]
SPLITS: tuple[Split, ...] = ("even", "odd", "first", "last")
"""What moves: places with even or odd numbers, or the first or last half of the channels of every place."""


class PlaceLinear(Layer):
    """One invertible matrix and shift for the channels of every place (the 1 x 1 convolution, with its ActNorm)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = Linear(channels)

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:
        z, slope = self.linear(x.flatten(0, 1), context, noise)
        return Move(z.view_as(x), slope.view(x.shape[:2]).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        return self.linear.inverse(z.flatten(0, 1), context, noise).view_as(z)


class Coupling(Layer):
    """x `[b, n, c]` to z with one half as it was; a Transformer that looks both ways reads that half."""

    def __init__(
        self, codes: Codes, univariate: Univariate, longest: int, network: Mapping[str, Any], split: Split
    ) -> None:
        super().__init__()
        self.codes, self.univariate, self.split = codes, univariate, split
        c = codes.channels
        fixed = {
            "inputs": codes.size + 1 + 2 * c, "plain": 2 * c, "outputs": c * univariate.size, "longest": longest,
        }  # fmt: skip
        self.network = Transformer(TransformerConfig.of({**network, **fixed}))
        nn.init.zeros_(self.network.leave.weight)
        nn.init.zeros_(self.network.leave.bias)

    def kept(self, x: Tensor) -> Tensor:
        """Which numbers stay, `[n, c]` bool."""
        n, c = x.shape[1:]
        places, channels = torch.arange(n, device=x.device), torch.arange(c, device=x.device)
        if self.split in ("even", "odd"):
            return (places % 2 == (self.split == "even"))[:, None].expand(n, c)
        return ((channels < c // 2) == (self.split == "last")).expand(n, c)

    def maps(self, x: Tensor, kept: Tensor) -> Tensor:
        """Parameters of every number's map, `[b, n, c, size]`, from the numbers that stay."""
        seen = torch.where(kept, x, 0.0)
        codes = self.codes.code_of(x).masked_fill(~kept.all(1), self.codes.size)
        parts = torch.cat([one_hot(codes, self.codes.size + 1), seen, seen.sign()], -1)
        return self.network(parts).unflatten(-1, (self.codes.channels, -1)).to(x.dtype)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        kept = self.kept(x)
        z, slope = self.univariate.forward(x, self.maps(x, kept))
        return Move(torch.where(kept, x, z), slope.masked_fill(kept, 0.0).flatten(1).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        kept = self.kept(z)
        return torch.where(kept, z, self.univariate.inverse(z, self.maps(z, kept)))
