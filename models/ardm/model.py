"""An order-agnostic model of strings, p(x) = p(n) p(x | n), and the left-to-right one that it is compared with.

Base measure: counting measure over all strings of the vocabulary's tokens up to `longest`; nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.strings.lengths import Lengths
from models.strings.tokens import Vocabulary
from models.strings.transformer import Transformer, TransformerConfig

ORDERS = ("any", "left-to-right")


class ARDM(nn.Module):
    """The network sees a string with some places hidden and predicts the token of every place."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {"tokens", "longest", "lengths", "network", "order", "difficulty"}
        if unknown := sorted(set(config) - known):
            raise ConfigError(f"ardm: the configuration has {', '.join(unknown)}; known are {sorted(known)}.")
        self.config = dict(config)
        self.order = str(config.get("order", "any"))
        if self.order not in ORDERS:
            raise ConfigError(f"ardm: order is {self.order!r}; choose one of {', '.join(ORDERS)}.")
        self.vocabulary = Vocabulary(config["tokens"])
        self.longest = int(config["longest"])
        self.lengths = Lengths(config["lengths"], self.longest)
        self.mask = len(self.vocabulary)
        """The id of a hidden place; for the left-to-right model the start."""
        size = len(self.vocabulary)
        network = {"causal": self.order == "left-to-right", **config.get("network", {})}
        self.network = Transformer(
            TransformerConfig.of({"inputs": size + 1, "outputs": size, "longest": self.longest, **network})
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """From the `config` of a card."""
        return cls(config)

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's network; tokens and lengths of the data."""
        return {**recipe, **data.summary()}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.leave.weight.device

    def log_predictions(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """log C(x_k | what is seen) at every place, `[b, n, K]`; tokens `[b, n]`, hidden `[b, n]` bool."""
        logits: Tensor = self.network(tokens.masked_fill(hidden, self.mask))
        return logits.log_softmax(-1)

    def next_log_predictions(self, tokens: Tensor) -> Tensor:
        """log p(x_k | x_<k), `[b, n, K]`, of a left-to-right model."""
        logits: Tensor = self.network(F.pad(tokens[:, :-1], (1, 0), value=self.mask))
        return logits.log_softmax(-1)

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Nats a token `[b]`: one term of the bound, D L_t / D, at one random time and order for each string.

        Times are spread evenly over the batch with one common offset, which lowers the variance.
        """
        tokens = batch.tokens
        b, n = tokens.shape
        if self.order == "left-to-right":
            found = self.next_log_predictions(tokens).gather(-1, tokens[..., None])[..., 0]
            return {"loss": -found.mean(1)}
        offset = torch.rand((), generator=generator)
        seen = ((torch.arange(b) / b + offset) % 1 * n).long()[torch.randperm(b, generator=generator)]
        ranks = torch.rand(b, n, generator=generator).argsort(1).argsort(1)
        hidden = (ranks >= seen[:, None]).to(tokens.device)
        found = self.log_predictions(tokens, hidden).gather(-1, tokens[..., None])[..., 0]
        mean = -(found * hidden).sum(1) / hidden.sum(1)
        return {"loss": mean}
