"""An argmax flow of strings: p(x) = p(n) p(x | n), where x is what n places of a flow's values point at.

log p(x | n) >= E_q [log p(v) - log q(v | x)] with v in R^(n x channels). Base measure: counting measure over all
strings of the vocabulary's tokens up to `longest`; nats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.argmax_flow.autoregressive import Autoregressive
from models.argmax_flow.codes import Codes
from models.argmax_flow.coupling import SPLITS, Coupling, PlaceLinear
from models.argmax_flow.posterior import Posterior
from models.argmax_flow.univariate import Univariate
from models.core.errors import ConfigError
from models.core.placed import Placed
from models.strings.lengths import Lengths
from models.strings.tokens import Vocabulary
from models.survae.conditionals import StandardNormal
from models.survae.contract import Layer, Noise, Stack

KNOWN = {"tokens", "longest", "lengths", "base", "posterior", "flow"}
FLOWS = ("autoregressive", "coupling")


class ArgmaxFlow(Placed):
    """posterior: `kind` and, if wanted, a `network` of the string. flow: `kind`, `bins` and `bound` of the splines
    (no bins: affine), a `network`, and `hidden` (autoregressive) or `rounds` of four couplings.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(
                f"argmax_flow: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}."
            )
        self.config = dict(config)
        self.vocabulary = Vocabulary(config["tokens"])
        self.longest = int(config["longest"])
        self.lengths = Lengths(config["lengths"], self.longest)
        self.codes = Codes(len(self.vocabulary), int(config["base"]))
        self.posterior = Posterior(self.codes, longest=self.longest, **config["posterior"])
        self.flow = Stack(self._layers(dict(config["flow"])))
        self.normal = StandardNormal()

    def _layers(self, config: dict[str, Any]) -> list[Layer]:
        kind = config.pop("kind", None)
        univariate = Univariate(int(config.pop("bins", 0)), float(config.pop("bound", 6.0)))
        own = {"autoregressive": "hidden", "coupling": "rounds"}
        if kind not in FLOWS or set(config) != {"network", own[kind]}:
            raise ConfigError(
                f"argmax_flow: a flow is one of {', '.join(FLOWS)} with bins, bound, network, and hidden or rounds; "
                f"given were kind {kind!r} and {sorted(config)}."
            )
        if kind == "autoregressive":
            return [Autoregressive(self.codes, univariate, self.longest, **config)]
        layers: list[Layer] = []
        for _ in range(int(config["rounds"])):
            for split in SPLITS:
                layers += [
                    PlaceLinear(self.codes.channels),
                    Coupling(self.codes, univariate, self.longest, config["network"], split),
                ]
        return layers

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's base, posterior and flow; tokens and lengths of the data."""
        return {**recipe, **data.summary()}

    def once(self, tokens: Tensor, noise: Noise) -> Tensor:
        """One draw of the bound on log p(x | n), `[b]` in nats, for tokens `[b, n]`."""
        v, minus_log_q = self.posterior(tokens, None, noise)
        total: Tensor = self.log_density(v) + minus_log_q
        return total

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v | n) `[b]` of values `[b, n, channels]`, exactly."""
        z, contribution = self.flow(v, None, Noise([]))
        total: Tensor = self.normal.log_prob(z) + contribution
        return total

    def encode(self, tokens: Tensor, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
        """z `[b, n, channels]`: a draw of v, moved to where the flow is standard normal; 64 bits invert precisely."""
        v = self.posterior(tokens, None, noise).value
        z: Tensor = self.flow(v.to(dtype), None, noise).value
        return z

    def decode(self, z: Tensor, watch: Callable[[], None] = lambda: None) -> Tensor:
        """The tokens `[b, n]` that z `[b, n, channels]` stands for.

        `watch` is called before every network call (n for an autoregressive flow) and may raise.
        """
        for layer in reversed(self.flow.layers):
            if isinstance(layer, Autoregressive):
                z = layer.inverse(z, None, Noise([]), watch)
            else:
                watch()
                z = layer.inverse(z, None, Noise([]))  # type: ignore[operator]
        return self.codes.tokens_of(z)

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Nats a token `[b]`: the negative bound by one draw of v."""
        return {"loss": -self.once(batch.tokens, Noise(generator)) / batch.tokens.shape[1]}
