"""How likely strings are: the bound over random orders, or the exact density of one order.

All n conditionals of one order are given by one batch, because the string is known. With a hierarchy, every stage is
told in such an order, and the log-probabilities of the stages add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.ardm.model import ARDM
from models.core.errors import ConfigError
from models.core.random import generator

ORDERS = ("random", "left-to-right", "right-to-left")


@dataclass(frozen=True)
class StringScore:
    """log_prob in nats with log p(n); a bound in expectation over orders, whose standard error is `standard_error`.

    log_length: log p(n). surprisal: nats of each token, mean over the orders.
    """

    log_prob: float
    standard_error: float
    log_length: float
    surprisal: tuple[float, ...]
    draws: int
    kind: str


def order_ranks(n: int, order: str, source: torch.Generator) -> Tensor:
    """When each of n places is told, `[n]`. Raises ConfigError for an unknown order."""
    if order == "random":
        return torch.randperm(n, generator=source).argsort()
    if order not in ORDERS:
        raise ConfigError(f"order is {order!r}; choose one of {', '.join(ORDERS)}.")
    return torch.arange(n) if order == "left-to-right" else torch.arange(n - 1, -1, -1)


@torch.inference_mode()
def score(
    model: ARDM,
    ids: Sequence[int],
    seed: int,
    *,
    draws: int = 4,
    order: str = "random",
    stopped: Callable[[], bool] = lambda: False,
) -> StringScore:
    """One string of 1..longest tokens under `draws` orders, each exact: log p(n) + sum_t log p(x_s(t) | x_s(<t))."""
    tokens = torch.tensor([list(ids)], device=model.device)
    n = tokens.shape[1]
    log_length = model.lengths.log_prob(n)
    if model.order == "left-to-right":
        values = model.next_log_predictions(tokens).gather(-1, tokens[..., None])[..., 0].double().cpu()
        return _summary(values, log_length, "exact")
    source, stages = generator(seed, "score"), range(model.hierarchy.stages)
    draws = draws if order == "random" else 1
    rows = []
    for _ in range(draws):
        if stopped():
            break
        parts = [_stage(model, tokens, order_ranks(n, order, source), k) for k in stages]
        rows.append(torch.stack(parts).sum(0))
    kind = "lower_bound" if order == "random" else "exact"
    return _summary(torch.stack(rows), log_length, kind)


def _stage(model: ARDM, tokens: Tensor, rank: Tensor, stage: int) -> Tensor:
    """log-probability of what a stage tells of every place of one string `[1, n]` in the order of `rank`, `[n]`."""
    unknown = (model.hierarchy.at(tokens, stage) != model.hierarchy.at(tokens, stage + 1))[0].cpu()
    places = rank.argsort()
    places = places[unknown[places]]
    out = torch.zeros(tokens.shape[1], dtype=torch.float64)
    if len(places):
        turn = torch.full((tokens.shape[1],), -1).index_copy_(0, places, torch.arange(len(places)))
        hidden = (turn >= torch.arange(len(places))[:, None]).to(
            model.device
        )  # before a step, its place and later
        told = model.log_told(tokens.expand(len(places), -1), hidden, stage).double().cpu()
        out[places] = told[torch.arange(len(places)), places]
    return out


def _summary(values: Tensor, log_length: float, kind: str) -> StringScore:
    sums = values.sum(1)
    error = (
        float(sums.std()) / math.sqrt(len(sums)) if len(sums) > 1 else (0.0 if kind == "exact" else math.nan)
    )
    return StringScore(
        log_prob=log_length + float(sums.mean()),
        standard_error=error,
        log_length=log_length,
        surprisal=tuple((-values.mean(0)).tolist()),
        draws=len(sums),
        kind=kind,
    )
