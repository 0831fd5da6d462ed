"""Every number moved by a map that those before it choose: from left to right, and in a place channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.nn import functional as F

from models.argmax_flow.codes import Codes
from models.argmax_flow.univariate import Univariate
from models.strings.transformer import Memory, Transformer, TransformerConfig, one_hot
from models.survae.contract import Layer, Move, Noise


class Autoregressive(Layer):
    """v `[b, n, c]` to z; a causal Transformer reads the places before, their values and the codes they point at.

    Networks compute in their own type and maps in v's, so that 64 bits make a precise inverse with any weights.
    """

    def __init__(
        self, codes: Codes, univariate: Univariate, longest: int, network: Mapping[str, Any], hidden: int
    ) -> None:
        super().__init__()
        self.codes, self.univariate = codes, univariate
        c = codes.channels
        self.start = codes.size
        """The code that stands before the first place."""
        fixed = {
            "inputs": codes.size + 1 + c, "plain": c, "longest": longest, "causal": True, "ends": True,
        }  # fmt: skip
        config = TransformerConfig.of({"outputs": 128, **network, **fixed})
        self.network = Transformer(config)
        # Channel k sees all of the context, and values and signs of channels before k.
        earlier = torch.ones(c, c).tril(-1).bool()
        sees = torch.cat([torch.ones(c, config.outputs).bool(), earlier, earlier], 1)
        sees = sees.repeat_interleave(univariate.size, 0)
        self.head = zuko.nn.MaskedMLP(sees, (hidden,), activation=nn.SiLU)
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def context(self, v: Tensor, whole: int, memory: Memory | None = None) -> Tensor:
        """What the places before say, `[b, m, outputs]`, for the first m places of strings of `whole`; with a memory,
        for those that it has not seen.
        """
        before = F.pad(v[:, :-1], (0, 0, 1, 0))
        codes = F.pad(self.codes.code_of(v[:, :-1]), (1, 0), value=self.start)
        seen: Tensor = self.network(
            torch.cat([one_hot(codes, self.start + 1), before], -1), whole=whole, memory=memory
        )
        return seen

    def maps(self, context: Tensor, v: Tensor) -> Tensor:
        """Parameters of every number's map, `[b, m, c, size]`."""
        values = v.to(context.dtype)
        found: Tensor = self.head(torch.cat([context, values, values.sign()], -1))
        return found.view(*values.shape, self.univariate.size).to(v.dtype)

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z, slope = self.univariate.forward(x, self.maps(self.context(x, x.shape[1]), x))
        return Move(z, slope.flatten(1).sum(1))

    def inverse(
        self,
        z: Tensor,
        context: Tensor | None,  # noqa: ARG002
        noise: Noise,  # noqa: ARG002
        watch: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Place after place; `watch` is called before every network call and may raise."""
        v, memory = torch.zeros_like(z), Memory()
        for place in range(z.shape[1]):
            watch()
            seen = self.context(v[:, : place + 1], z.shape[1], memory)
            for channel in range(z.shape[2]):
                p = self.maps(seen, v[:, place : place + 1])[:, 0, channel]
                v[:, place, channel] = self.univariate.inverse(z[:, place, channel], p)
        return v
