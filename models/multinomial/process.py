"""The noise: at every step a token stays, or becomes any of the K with equal chances. All in log space.

Times are whole numbers 0 (data) to T (noise). With abar_t the share of tokens never touched until t,
q(x_t | x_0) = abar_t [x_t = x_0] + (1 - abar_t) / K. The schedule is kept in float64, from which every function
takes what it needs in the precision of its arguments: float64 for reported bounds, float32 to train.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError

Form = Literal["mixture", "paper", "code"]
FORMS: tuple[Form, ...] = get_args(Form)
FLOOR = 1e-9
"""Of the share that is left at T; the rest of the prior's mismatch is part of the bound."""


class Process(nn.Module):
    """The cosine schedule of the paper, abar_t = f(t) / f(0) with f(t) = cos((t/T + s) / (1 + s) pi/2)."""

    log_abar: Tensor
    log_noise: Tensor

    def __init__(self, steps: int, classes: int, offset: float = 0.008) -> None:
        super().__init__()
        if steps < 1 or classes < 2:
            raise ConfigError(
                f"multinomial diffusion: {steps} steps, {classes} classes; wanted 1 and 2 or more."
            )
        self.steps, self.classes = steps, classes
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        f = ((t + offset) / (1 + offset) * (math.pi / 2)).cos()
        abar = (f / f[0]).clamp(FLOOR, 1.0)
        abar[0] = 1.0
        self.register_buffer("log_abar", abar.log(), persistent=False)
        # minus infinity at t = 0
        self.register_buffer("log_noise", (1 - abar).log() - math.log(classes), persistent=False)

    def diffused(self, log_x0: Tensor, t: Tensor) -> Tensor:
        """log q(x_t | x_0) `[b, n, K]` for log-probabilities of x_0 `[b, n, K]` and times `[b]`."""
        keep, noise = self._rows(t, log_x0.dtype)
        return torch.logaddexp(keep + log_x0, noise.expand_as(log_x0))

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """log q(x_t | x_s) as a function of x_s, `[b, n, K]`, for tokens x_t `[b, n]` and times s < t."""
        log_alpha = (self.log_abar[t] - self.log_abar[s])[:, None, None]
        noise = torch.log(-torch.expm1(log_alpha)) - math.log(self.classes)
        return torch.logaddexp(log_alpha.to(dtype) + log_one_hot(x_t, self.classes, dtype), noise.to(dtype))

    def posterior(self, log_x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """log q(x_s | x_t, x_0) `[b, n, K]`, normalised; x_0 may be soft, and is then put in as if it were sharp."""
        unnormalised = self.step(x_t, t, s, log_x0.dtype) + self.diffused(log_x0, s)
        return unnormalised.log_softmax(-1)

    def reverse(self, log_x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor, form: Form = "mixture") -> Tensor:
        """log p(x_s | x_t) `[b, n, K]` from a prediction log p(x_0 | x_t) `[b, n, K]`.

        mixture: the mean of the posteriors over predicted x_0, exact where the prediction is the Bayes posterior.
        paper: the posterior with the soft prediction put in, and the prediction itself at s = 0.
        code: the same at every step, so that at s = 0 the prediction is multiplied by q(x_t | x_0).
        """
        if form == "mixture":
            # sum_k p(x_0 = k) q(x_s | x_t, k) is the posterior of weights p(x_0 = k) / q(x_t | k).
            seen = self.diffused(log_one_hot(x_t, self.classes, log_x0.dtype), t)  # the kernel is symmetric
            weights = log_x0 - seen
            total = torch.logsumexp(weights, -1, keepdim=True)
            keep, noise = self._rows(s, log_x0.dtype)
            mixed = torch.logaddexp(keep + weights, noise + total)
            return (self.step(x_t, t, s, log_x0.dtype) + mixed).log_softmax(-1)
        plugged = self.posterior(log_x0, x_t, t, s)
        if form == "paper":
            return torch.where((s == 0)[:, None, None], log_x0, plugged)
        if form == "code":
            return plugged
        raise ConfigError(f"form is {form!r}; choose one of {', '.join(FORMS)}.")

    def noised(self, x_0: Tensor, t: Tensor, uniform: Tensor) -> Tensor:
        """x_t `[b, n]` drawn from q(x_t | x_0) by uniform numbers `[b, n]`: below abar_t the token stays."""
        abar = self.log_abar[t].exp()[:, None]
        other = (uniform - abar) / (1 - abar).clamp_min(1e-300) * self.classes
        return torch.where(uniform < abar, x_0, other.long().clamp(0, self.classes - 1))

    def _rows(self, t: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """log abar_t and log (1 - abar_t) / K, `[b, 1, 1]`."""
        return self.log_abar[t].to(dtype)[:, None, None], self.log_noise[t].to(dtype)[:, None, None]


def log_one_hot(x: Tensor, classes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """0 at the token, minus infinity elsewhere, `[..., K]`."""
    out = torch.full((*x.shape, classes), -math.inf, dtype=dtype, device=x.device)
    return out.scatter_(-1, x[..., None], 0.0)


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) in nats over the last axis, with 0 log 0 = 0."""
    q = log_q.exp()
    return torch.where(q > 0, q * (log_q.clamp_min(-1e4) - log_p.clamp_min(-1e4)), 0.0).sum(-1)


def draw(log_p: Tensor, uniform: Tensor) -> Tensor:
    """Tokens `[...]` from log-probabilities `[..., K]` by uniform numbers `[...]`."""
    edges = log_p.exp().cumsum(-1)
    scaled = uniform[..., None] * edges[..., -1:]
    return (edges[..., :-1] <= scaled).sum(-1)
