"""How likely strings are: the importance-weighted bound of K draws of the continuous values, and the plain one.

The bound of K draws lies, in expectation, between the plain bound and log p(x), and rises with K (Burda et al., 2015,
arXiv 1509.00519).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from models.argmax_flow.model import ArgmaxFlow
from models.core.likelihood import Likelihood
from models.core.random import generator
from models.strings.lengths import stacked
from models.survae.contract import Noise
from models.survae.flow import importance_weighted

ROWS = 128
"""Draws that one network call takes."""


@torch.no_grad()
def score(
    model: ArgmaxFlow,
    tokens: Sequence[int],
    seed: int,
    draws: int = 16,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Likelihood:
    """The bound on log p(n) + log p(x | n) of one string of 1..longest tokens. Raises InterruptedError.

    terms: log p(n); `plain`, the mean of the draws; `weighting`, what the weighting adds to it. The standard error
    is that of the weighted bound, and infinite for one draw.
    """
    source = generator(seed, "bound")
    row = stacked([list(tokens)]).to(model.device)
    parts = []
    for start in range(0, draws, ROWS):
        if stopped():
            raise InterruptedError
        count = min(ROWS, draws - start)
        parts.append(model.once(row.expand(count, -1), Noise(source)).double().cpu())
    found = torch.cat(parts)
    plain, length = float(found.mean()), model.lengths.log_prob(row.shape[1])
    bound, error = plain, math.inf
    if draws > 1:
        weighted, spread = importance_weighted(found)
        bound, error = float(weighted), float(spread)
    terms = {"length": length, "plain": plain, "weighting": bound - plain}
    return Likelihood(length + bound, error, "lower_bound", draws, terms)
