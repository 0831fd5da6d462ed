"""New strings, and the missing parts of given ones: any places fixed, any order, any budget of network calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from models.ardm.model import ARDM
from models.ardm.policy import policy_for
from models.core.errors import ConfigError
from models.core.random import generator
from models.strings.lengths import by_length

Progress = Callable[[int], None]


class StoppedError(Exception):
    """The caller asked to stop between two network calls."""


def nobody(calls: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Filled:
    """A finished string; log_prob is that of the tokens drawn, given the fixed ones, the length and the order: what
    the model says at temperature 1. calls: network calls.
    """

    tokens: tuple[int, ...]
    log_prob: float
    calls: int


@torch.inference_mode()
def fill(
    model: ARDM,
    templates: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    temperature: float = 1.0,
    even: bool = False,
    most: int = 128,
    progress: Progress = nobody,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Filled]:
    """Draw the hidden places (id `model.mask`) of every template, each in a random order of its own.

    String i depends on its template and seed only. Raises ConfigError for a model of one order or a temperature
    that is not positive, StoppedError when `stopped` says so.
    """
    if model.order != "any":
        raise ConfigError("only a model of any order fills in places.")
    if temperature <= 0:
        raise ConfigError(f"temperature is {temperature}, but must be positive.")
    difficulty = tuple(model.config.get("difficulty", ()))
    policy = cache(lambda n: policy_for(n, steps, difficulty, even=even))
    out: list[Filled | None] = [None] * len(templates)
    for rows in by_length([len(t) for t in templates], most):
        found = _fill_batch(
            model, torch.tensor([templates[row] for row in rows]), [seeds[row] for row in rows], policy,
            temperature, progress, stopped,
        )  # fmt: skip
        for row, one in zip(rows, found, strict=True):
            out[row] = one
    return [one for one in out if one is not None]


def _fill_batch(
    model: ARDM,
    tokens: Tensor,
    seeds: Sequence[int],
    policy: Callable[[int], list[int]],
    temperature: float,
    progress: Progress,
    stopped: Callable[[], bool],
) -> list[Filled]:
    b, n = tokens.shape
    hidden = tokens == model.mask
    draws = torch.stack(
        [torch.rand(2, n, generator=generator(seed, "fill"), dtype=torch.float64) for seed in seeds]
    )
    order, uniform = draws[:, 0].masked_fill(~hidden, 2.0).argsort(1), draws[:, 1]
    counts = hidden.sum(1).tolist()
    plans = [policy(count) if count else [] for count in counts]
    done = [0] * b
    total = torch.zeros(b, dtype=torch.float64)
    for call in range(max((len(plan) for plan in plans), default=0)):
        if stopped():
            raise StoppedError
        log_p = model.log_predictions(tokens.to(model.device), (tokens == model.mask).to(model.device))
        log_p = log_p.double().cpu()
        rows, places = [], []
        for row, plan in enumerate(plans):
            if call < len(plan):
                chosen = order[row, done[row] : done[row] + plan[call]].tolist()
                done[row] += plan[call]
                rows += [row] * len(chosen)
                places += chosen
        said = log_p[rows, places]
        edges = (said / temperature).softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(edges, (uniform[rows, places] * edges[:, -1])[:, None], right=True)
        drawn = drawn.clamp(max=said.shape[1] - 1)
        tokens[rows, places] = drawn[:, 0]
        total.index_add_(0, torch.tensor(rows), said.gather(1, drawn)[:, 0])
        progress(1)
    return [
        Filled(tuple(ids), float(value), len(plan))
        for ids, value, plan in zip(tokens.tolist(), total, plans, strict=True)
    ]


def sample(
    model: ARDM,
    seeds: Sequence[int],
    *,
    bounds: tuple[int, int] | None = None,
    steps: int | None = None,
    temperature: float = 1.0,
    even: bool = False,
    progress: Progress = nobody,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Filled]:
    """New strings with lengths as in the data, or between two bounds; log_prob is without log p(n)."""
    lengths = model.lengths.draw(seeds, *(bounds or (1, None)))
    templates = [[model.mask] * n for n in lengths]
    return fill(
        model, templates, seeds, steps=steps, temperature=temperature, even=even, progress=progress,
        stopped=stopped,
    )  # fmt: skip
