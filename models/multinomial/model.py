"""The diffusion: its network, its loss, and the steps back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.core.placed import Placed
from models.multinomial.process import FORMS, Form, Process, divergence, log_one_hot
from models.multinomial.times import TimeSampler
from models.strings.lengths import Lengths
from models.strings.tokens import Vocabulary
from models.strings.transformer import Transformer, TransformerConfig

KNOWN = {"tokens", "longest", "lengths", "steps", "form", "network"}


class MultinomialDiffusion(Placed):
    """p(n) p(x | n) over strings of n tokens; p(x | n) is a chain of T factorised steps from uniform tokens."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(
                f"multinomial: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}."
            )
        if config["form"] not in FORMS:
            raise ConfigError(f"multinomial: form is {config['form']!r}; choose one of {', '.join(FORMS)}.")
        self.config = dict(config)
        self.vocabulary = Vocabulary(config["tokens"])
        self.longest = int(config["longest"])
        self.lengths = Lengths(config["lengths"], self.longest)
        self.process = Process(int(config["steps"]), len(self.vocabulary))
        self.form: Form = config["form"]
        self.times = TimeSampler(self.process.steps)
        classes = {"inputs": len(self.vocabulary), "outputs": len(self.vocabulary), "longest": self.longest}
        self.network = Transformer(TransformerConfig.of({**config["network"], **classes, "times": 1}))

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The recipe's network and steps, the data's tokens and lengths."""
        return {**recipe, **data.summary()}

    def predict(self, x_t: Tensor, t: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """log p(x_0 | x_t) `[b, n, K]` for tokens `[b, n]` at times `[b]`."""
        times = (t.double() / self.process.steps)[:, None].float()
        return self.network(x_t, times).to(dtype).log_softmax(-1)  # type: ignore[no-any-return]

    def term(self, x_0: Tensor, x_t: Tensor, t: Tensor, log_x0: Tensor) -> Tensor:
        """L_t of every place, `[b, n]`: KL(q(x_{t-1} given x_t, x_0), p(x_{t-1} given x_t)); -log p(x_0) at t = 1."""
        start = log_one_hot(x_0, self.process.classes, log_x0.dtype)
        true = self.process.posterior(start, x_t, t, t - 1)
        return divergence(true, self.process.reverse(log_x0, x_t, t, t - 1, self.form))

    def noised(self, x_0: Tensor, t: Tensor, uniform: Tensor) -> Tensor:
        """x_t `[b, n]` drawn by uniform numbers `[b, n]`."""
        return self.process.noised(x_0, t, uniform)

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Nats a token `[b]`: the bound by one importance-sampled time, and `cross_entropy` times that of x_0."""
        x_0 = batch.tokens
        b, n = x_0.shape
        t, q = (values.to(x_0.device) for values in self.times.draw(b, generator))
        uniform = torch.rand(b, n, generator=generator, dtype=torch.float64, device=generator.device)
        x_t = self.noised(x_0, t, uniform.to(x_0.device))
        log_x0 = self.predict(x_t, t, torch.float32)
        terms = self.term(x_0, x_t, t, log_x0).sum(1)
        self.times.update(t, terms.detach())
        bound = terms / q.float() / n
        cross_entropy = F.nll_loss(log_x0.flatten(0, 1), x_0.flatten(), reduction="none").view(b, n).mean(1)
        weight = float(options.get("cross_entropy", 0.0))
        return {"loss": bound + weight * cross_entropy, "bound": bound, "cross_entropy": cross_entropy}
