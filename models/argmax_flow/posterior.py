"""q(v | x): continuous values that point at given tokens, and only at them.

Three kinds, as in the paper. `softplus`: normal noise whose losers are squeezed below the winner. `gumbel`: Gumbel
noise, given which entry is the largest. `gumbel-threshold`: the same map from uniform numbers to Gumbel ones, but of
uniform numbers that are a learned density themselves. All are maps of standard normal noise. With base 2 the winner's
lead over the loser is one number, and the maps are those of the lead: softplus of a normal number, or of a logistic.

Importance weights p(v) / q(v) are bounded near a threshold for `gumbel` only: the others hardly ever draw there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.argmax_flow.codes import Codes
from models.core.errors import ConfigError
from models.core.thresholds import squeezed_below
from models.strings.transformer import Transformer, TransformerConfig
from models.survae.conditionals import normal_log_prob
from models.survae.contract import Layer, Move, Noise, Support

Kind = Literal["softplus", "gumbel", "gumbel-threshold"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PARAMETERS: dict[Kind, int] = {"softplus": 2, "gumbel": 1, "gumbel-threshold": 3}
MOST, LOG_SCALE = 6.0, 0.25
"""Bound of all parameters, and a log-scale's share of its own: then no noise leaves the range of 32 bits."""


class Posterior(Layer):
    """Tokens `[b, n]` to values `[b, n, channels]`; the parameters are a table's, and a network's of the string."""

    exact = False
    takes: Support = "categories"

    def __init__(
        self, codes: Codes, kind: Kind, longest: int, network: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ConfigError(f"the posterior's kind is {kind!r}; choose one of {', '.join(KINDS)}.")
        self.codes, self.kind = codes, kind
        outputs = codes.channels * PARAMETERS[kind]
        self.table = nn.Embedding(codes.tokens, outputs)
        nn.init.zeros_(self.table.weight)
        self.network: Transformer | None = None
        if network:
            sizes = {"inputs": codes.tokens, "outputs": outputs, "longest": longest}
            self.network = Transformer(TransformerConfig.of({**network, **sizes}))
            nn.init.zeros_(self.network.leave.weight)

    def parameters_of(self, tokens: Tensor) -> Tensor:
        """Bounded parameters `[b, n, channels, p]` of the noise."""
        raw = self.table(tokens)
        if self.network is not None:
            raw = raw + self.network(tokens)
        bounded: Tensor = MOST * torch.tanh(raw.view(*tokens.shape, self.codes.channels, -1) / MOST)
        return bounded

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        p = self.parameters_of(x)
        eps = noise.normal(p, p.shape[1:3])
        return self.moved(x, p, eps)

    def moved(self, x: Tensor, p: Tensor, eps: Tensor) -> Move:
        """Values from parameters `[b, n, channels, p]` and standard normal noise `[b, n, channels]`; -log q."""
        digits = self.codes.digits_of(x)
        if self.codes.base == 2:
            v, log_q = leads(self.kind, p, eps, digits)
        else:
            parts = (*digits.shape, self.codes.base)
            v, log_q = winners(self.kind, p.view(*parts, -1), eps.view(parts), digits)
            v = v.flatten(2)
        return Move(v, -log_q.flatten(1).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return self.codes.tokens_of(z)


def leads(kind: Kind, p: Tensor, eps: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
    """Base 2: |v| = softplus(u), its sign the digit `[...]` (1 positive); v and log q(v) `[...]`."""
    log_normal = normal_log_prob(eps)
    if kind == "gumbel":  # a logistic number with location a, given that it is positive
        u, log_q = F.softplus(p[..., 0]) + logistic(eps), log_normal - logistic_slope(eps)
    else:
        mean, log_scale = p[..., -2], LOG_SCALE * p[..., -1]
        u, log_q = mean + log_scale.exp() * eps, log_normal - log_scale
        if kind == "gumbel-threshold":
            u = u + F.softplus(p[..., 0])
    below, slope = squeezed_below(-u, torch.zeros_like(u))
    return torch.where(digits > 0, -below, below), log_q - slope


def logistic(eps: Tensor) -> Tensor:
    """A logistic number from a standard normal one: logit(Phi(eps))."""
    found: Tensor = torch.special.log_ndtr(eps) - torch.special.log_ndtr(-eps)
    return found


def logistic_slope(eps: Tensor) -> Tensor:
    """log d logistic(eps) / d eps = log phi(eps) - log Phi(eps) - log Phi(-eps)."""
    found: Tensor = normal_log_prob(eps) - torch.special.log_ndtr(eps) - torch.special.log_ndtr(-eps)
    return found


def winners(kind: Kind, p: Tensor, eps: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
    """A larger base: v `[..., digits, base]`, largest at each digit `[..., digits]`, and log q(v), entry by entry."""
    wins = F.one_hot(digits, eps.shape[-1]).bool()
    log_normal = normal_log_prob(eps)
    if kind == "softplus":
        mean, log_scale = p[..., 0], LOG_SCALE * p[..., 1]
        u = mean + log_scale.exp() * eps
        below, slope = squeezed_below(u, u.gather(-1, digits[..., None]))
        v = torch.where(wins, u, below)
        return v, log_normal - log_scale - slope.masked_fill(wins, 0.0)
    phi = p[..., 0]
    if kind == "gumbel":  # -log of a uniform number, and the density of its normal one
        log_hidden = (-torch.special.log_ndtr(eps)).log()
        log_u = log_normal - log_normal  # uniform numbers have density 1
    else:
        mean, log_scale = p[..., 1], LOG_SCALE * p[..., 2]
        w = mean + log_scale.exp() * eps
        log_hidden = F.softplus(-w).log()
        log_u = log_normal - log_scale - F.logsigmoid(w) - F.logsigmoid(-w)
    top_phi = phi.logsumexp(-1, keepdim=True)
    # The largest is Gumbel(logsumexp phi); the others are Gumbel(phi) cut at it (the paper's algorithm 2).
    top = (top_phi - log_hidden).gather(-1, digits[..., None])
    rest = -torch.logaddexp(-top, log_hidden - phi)
    rest = torch.minimum(rest, torch.nextafter(top.detach(), torch.full_like(top, -torch.inf)))
    v = torch.where(wins, top, rest)
    log_top = top_phi - v - (top_phi - v).exp()
    log_rest = phi - v - (phi - v).exp() + (phi - top).exp()
    return v, log_u + torch.where(wins, log_top, log_rest)
