"""New strings, and the missing parts of given ones: any places fixed, any order, any budget of network calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from models.ardm.model import ARDM
from models.ardm.policy import budgets, policy_for
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


def drawn(log_p: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """One token for each row of `[k, K]` at a temperature, by numbers `[k]` in 0..1."""
    edges = (log_p / temperature).softmax(-1).cumsum(-1)
    found = torch.searchsorted(edges, (uniform * edges[:, -1])[:, None], right=True)
    return found[:, 0].clamp(max=log_p.shape[1] - 1)


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
    policy = Policy(model, steps, even=even)
    out: list[Filled | None] = [None] * len(templates)
    for rows in by_length([len(t) for t in templates], most):
        found = _fill_batch(
            model, torch.tensor([templates[row] for row in rows]), [seeds[row] for row in rows], policy,
            temperature, progress, stopped,
        )  # fmt: skip
        for row, one in zip(rows, found, strict=True):
            out[row] = one
    return [one for one in out if one is not None]


class Policy:
    """How many places are filled at each call, for a model and a budget."""

    def __init__(self, model: ARDM, steps: int | None, *, even: bool) -> None:
        difficulty = model.config.get("difficulty", ())
        nats: list[Sequence[float]] = [part["nats"] for part in difficulty] or [()] * model.hierarchy.stages
        self.shares = cache(lambda n: budgets(n, steps, difficulty, len(nats), even=even) if steps else None)
        self.plan = cache(lambda stage, count, calls: policy_for(count, calls, nats[stage], even=even))

    def __call__(self, stage: int, count: int, hidden: int) -> list[int]:
        """For `count` places that a stage tells of a string in which `hidden` places are to be filled."""
        shares = self.shares(hidden)
        found: list[int] = self.plan(stage, count, None if shares is None else shares[stage]) if count else []
        return found


def _fill_batch(
    model: ARDM,
    tokens: Tensor,
    seeds: Sequence[int],
    policy: Policy,
    temperature: float,
    progress: Progress,
    stopped: Callable[[], bool],
) -> list[Filled]:
    b, n = tokens.shape
    hierarchy = model.hierarchy
    free = tokens == model.mask
    hidden = free.sum(1).tolist()
    draws = torch.stack(
        [
            torch.rand(hierarchy.stages, 2, n, generator=generator(seed, "fill"), dtype=torch.float64)
            for seed in seeds
        ]
    )
    state = tokens  # what every place shows
    total, calls = torch.zeros(b, dtype=torch.float64), [0] * b
    members, shown = hierarchy.members.cpu(), hierarchy.shown.cpu()
    for stage in range(hierarchy.stages):
        state = torch.where(free, state, shown[stage + 1][tokens.masked_fill(free, 0)])
        unknown = free & hierarchy.narrows(state.to(model.device), stage).cpu()
        order, uniform = draws[:, stage, 0].masked_fill(~unknown, 2.0).argsort(1), draws[:, stage, 1]
        plans = [
            policy(stage, count, all_) for count, all_ in zip(unknown.sum(1).tolist(), hidden, strict=True)
        ]
        done = [0] * b
        for call in range(max((len(plan) for plan in plans), default=0)):
            if stopped():
                raise StoppedError
            log_p = model.log_predictions(state.to(model.device)).double().cpu()
            rows, places = [], []
            for row, plan in enumerate(plans):
                if call < len(plan):
                    chosen = order[row, done[row] : done[row] + plan[call]].tolist()
                    done[row] += plan[call]
                    rows += [row] * len(chosen)
                    places += chosen
            said = log_p[rows, places]
            tokens_drawn = drawn(said, uniform[rows, places], temperature)
            told = shown[stage + 1][tokens_drawn]  # the token's detail is forgotten
            state[rows, places] = told
            values = said.masked_fill(~members[told], -torch.inf).logsumexp(-1)
            total.index_add_(0, torch.tensor(rows), values)
            progress(1)
        calls = [before + len(plan) for before, plan in zip(calls, plans, strict=True)]
    return [
        Filled(tuple(ids), float(value), count)
        for ids, value, count in zip(state.tolist(), total, calls, strict=True)
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
