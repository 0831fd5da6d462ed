"""The bound on log p(x): the sum over all times, with its expectations over x_t by draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.likelihood import Likelihood
from models.core.precision import network_autocast
from models.core.random import generator
from models.multinomial.model import MultinomialDiffusion
from models.multinomial.process import divergence, log_one_hot
from models.strings.lengths import stacked

ROWS = 400
"""Noisy strings that one network call takes."""


@dataclass(frozen=True)
class StringScore:
    """The bound of a string, and what each of its tokens adds to -bound, in nats `[n]` (without the length)."""

    likelihood: Likelihood
    surprisal: tuple[float, ...]


@torch.no_grad()
def score(
    model: MultinomialDiffusion,
    tokens: Sequence[int],
    seed: int,
    draws: int = 4,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> StringScore:
    """A lower bound on log p(n) + log p(x | n) in nats: T network rows a draw. Raises InterruptedError.

    The standard error is over draws (infinite for one); the noise of neighboring times is independent.
    """
    x_0 = stacked([list(tokens)])
    n, steps = x_0.shape[1], model.process.steps
    source = generator(seed, "bound")
    totals = torch.empty(draws, n, dtype=torch.float64)
    for k in range(draws):
        if cancelled():
            raise InterruptedError
        times = torch.arange(1, steps + 1)
        uniform = torch.rand(steps, n, generator=source, dtype=torch.float64)
        totals[k] = terms_at(model, x_0.expand(steps, -1), times, uniform).sum(0)
    last = model.process.diffused(log_one_hot(x_0, model.process.classes), torch.tensor([steps]))
    prior = divergence(last, torch.full_like(last, -math.log(model.process.classes)))[0]
    diffusion = totals.sum(1)
    length = model.lengths.log_prob(n)
    value = length - float(prior.sum()) - float(diffusion.mean())
    error = float(diffusion.std() / draws**0.5) if draws > 1 else math.inf
    terms = {"length": length, "prior": -float(prior.sum()), "diffusion": -float(diffusion.mean())}
    surprisal = (totals.mean(0) + prior).tolist()
    return StringScore(Likelihood(value, error, "lower_bound", draws, terms), tuple(surprisal))


def terms_at(model: MultinomialDiffusion, x_0: Tensor, times: Tensor, uniform: Tensor) -> Tensor:
    """L_t `[b, n]` of strings of one length, each at its own time and noise."""
    parts = []
    for rows in torch.split(torch.arange(len(x_0)), ROWS):
        part, t = x_0[rows], times[rows]
        x_t = model.noised(part, t, uniform[rows])
        with network_autocast(model.device):
            log_x0 = model.predict(x_t, t)
        parts.append(model.term(part, x_t, t, log_x0))
    return torch.cat(parts)


@torch.no_grad()
def quick_scores(
    model: MultinomialDiffusion, strings: Sequence[Sequence[int]], seed: int, strata: int
) -> list[float]:
    """Rough bounds of many strings, to rank them: one time out of each of `strata` parts of 1..T.

    All strings see the same times, so that what the choice of times adds is the same for all.
    """
    source = generator(seed, f"quick {strata}")
    steps = model.process.steps
    edges = torch.linspace(0, steps, strata + 1, dtype=torch.float64).round().long()
    widths = edges.diff()
    kept = widths > 0
    low, widths = edges[:-1][kept], widths[kept]
    times = low + 1 + (torch.rand(len(low), generator=source, dtype=torch.float64) * widths).long()
    longest = max((len(tokens) for tokens in strings), default=0)
    uniform = torch.rand(len(low), longest, generator=source, dtype=torch.float64)
    out = [-math.inf] * len(strings)
    for n in sorted({len(tokens) for tokens in strings}):
        rows = [k for k, tokens in enumerate(strings) if len(tokens) == n]
        x_0 = stacked([strings[k] for k in rows]).repeat_interleave(len(times), 0)
        found = terms_at(model, x_0, times.repeat(len(rows)), uniform[:, :n].repeat(len(rows), 1)).sum(1)
        sums = (found.view(len(rows), -1) * widths).sum(1)
        for k, total in zip(rows, sums.tolist(), strict=True):
            out[k] = model.lengths.log_prob(n) - total
    return out
