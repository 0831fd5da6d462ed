"""An order-agnostic model of strings, p(x) = p(n) p(x | n), and the left-to-right one that it is compared with.

Base measure: counting measure over all strings of the vocabulary's tokens up to `longest`; nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.ardm.hierarchy import Hierarchy
from models.core.errors import ConfigError
from models.core.placed import Placed
from models.strings.lengths import Lengths
from models.strings.tokens import Vocabulary
from models.strings.transformer import Transformer, TransformerConfig

ORDERS = ("any", "left-to-right")


class ARDM(Placed):
    """The network sees what every place shows, hidden or a set of tokens or a token, and predicts its token."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {"tokens", "longest", "lengths", "network", "order", "hierarchy", "difficulty"}
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
        self.hierarchy = Hierarchy(self.vocabulary.tokens, str(config.get("hierarchy", "none")))
        if self.order == "left-to-right" and self.hierarchy.stages > 1:
            raise ConfigError(
                "ardm: a left-to-right model has no hierarchy; leave it out or set order to any."
            )
        size = len(self.vocabulary)
        network = {"causal": self.order == "left-to-right", **config.get("network", {})}
        self.network = Transformer(
            TransformerConfig.of(
                {"inputs": self.hierarchy.symbols, "outputs": size, "longest": self.longest, **network}
            )
        )

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's network; tokens and lengths of the data."""
        return {**recipe, **data.summary()}

    def log_predictions(self, symbols: Tensor) -> Tensor:
        """log C(x_k | what all places show) `[b, n, K]` of the tokens that place k may still become, minus infinity
        of the others; symbols `[b, n]`.
        """
        logits: Tensor = self.network(symbols)
        return logits.masked_fill(~self.hierarchy.members[symbols], -torch.inf).log_softmax(-1)

    def log_told(self, tokens: Tensor, hidden: Tensor, stage: Tensor | int = 0) -> Tensor:
        """log-probability of what the stage after `stage` (a number or `[b]`) tells of every place, `[b, n]`, when
        `hidden` ones `[b, n]` have not been told it; 0 where nothing is left to tell.
        """
        before, after = self.hierarchy.at(tokens, stage), self.hierarchy.at(tokens, stage + 1)
        found = self.log_predictions(torch.where(hidden, before, after))
        return found.masked_fill(~self.hierarchy.members[after], -torch.inf).logsumexp(-1)

    def before(self, tokens: Tensor) -> Tensor:
        """What a left-to-right network sees of strings `[b, n]`: the start, then every token but the last."""
        return F.pad(tokens[:, :-1], (1, 0), value=self.mask)

    def next_log_predictions(self, tokens: Tensor) -> Tensor:
        """log p(x_k | x_<k), `[b, n, K]`, of a left-to-right model."""
        logits: Tensor = self.network(self.before(tokens))
        return logits.log_softmax(-1)

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Nats a token `[b]`: one term of the bound at a random stage, time and order for each string.

        Stages and times are spread evenly over the batch with one common offset, which lowers the variance.
        """
        tokens = batch.tokens
        b, n = tokens.shape
        if self.order == "left-to-right":
            found = self.next_log_predictions(tokens).gather(-1, tokens[..., None])[..., 0]
            return {"loss": -found.mean(1)}
        stages = self.hierarchy.stages
        where = generator.device
        offset = torch.rand((), generator=generator, device=where)
        places = torch.arange(b, device=where) / b
        order = torch.rand(b, generator=generator, device=where).argsort()
        spread = ((places + offset) % 1 * stages)[order].to(tokens.device)
        stage = spread.long().clamp(max=stages - 1)
        unknown = self.hierarchy.at(tokens, stage) != self.hierarchy.at(tokens, stage + 1)
        count = unknown.sum(1)
        seen = (spread % 1 * count).long()
        ranks = (
            torch.rand(b, n, generator=generator, device=where).to(tokens.device).masked_fill(~unknown, 2.0)
        )
        hidden = unknown & (ranks.argsort(1).argsort(1) >= seen[:, None])
        found = (self.log_told(tokens, hidden, stage) * hidden).sum(1) / hidden.sum(1).clamp(min=1)
        return {"loss": -found * count * stages / n}
