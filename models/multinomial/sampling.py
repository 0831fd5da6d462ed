"""Walks back from noise: whole strings, strings of which a part is fixed, and variations of a given one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.precision import network_autocast
from models.core.random import generator
from models.multinomial.model import MultinomialDiffusion
from models.multinomial.process import draw
from models.strings.lengths import by_length, stacked

MOST = 256
"""Strings walked at once."""


@dataclass(frozen=True)
class Start:
    """A string to be made: its seed, its tokens, and which of them are fixed (none: only the length counts)."""

    seed: int
    tokens: tuple[int, ...]
    fixed: tuple[bool, ...]

    @classmethod
    def empty(cls, seed: int, n: int) -> Start:
        """A string of n tokens of which nothing is known."""
        return cls(seed, (0,) * n, (False,) * n)


def strides(start: int, steps: int) -> list[int]:
    """Times from `start` down to 0 in at most `steps` jumps, as even as whole numbers allow.

    >>> strides(100, 4)
    [100, 75, 50, 25, 0]
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}; it must be at least 1.")
    grid = torch.linspace(start, 0, min(steps, start) + 1, dtype=torch.float64).round().long().tolist()
    return [int(t) for t in grid]


@torch.no_grad()
def walk(
    model: MultinomialDiffusion,
    starts: Sequence[Start],
    steps: int,
    *,
    begin: int | None = None,
    temperature: float = 1.0,
    cancelled: Callable[[], bool] = lambda: False,
    stepped: Callable[[int], None] = lambda _: None,
) -> list[list[int] | None]:
    """Token ids of every string; None for those that were not begun when `cancelled` said so.

    From uniform noise at T, or, with `begin`, from the given tokens noised to that time. Fixed tokens are noised
    like the others at every step and set to themselves at the end. Every string has its own random numbers.
    """
    top = model.process.steps if begin is None else begin
    if not 1 <= top <= model.process.steps:
        raise ConfigError(f"the walk begins at {top}; it must lie in 1..{model.process.steps}.")
    if temperature <= 0:
        raise ConfigError(f"temperature is {temperature}; it must be positive.")
    path = strides(top, steps)
    out: list[list[int] | None] = [None] * len(starts)
    for indices in by_length([len(start.tokens) for start in starts], MOST):
        group = [starts[k] for k in indices]
        given = stacked([start.tokens for start in group])
        fixed = torch.tensor([start.fixed for start in group])
        sources = [generator(start.seed, "walk") for start in group]

        def uniform(sources: list[torch.Generator] = sources, n: int = given.shape[1]) -> Tensor:
            return torch.stack([torch.rand(n, generator=source, dtype=torch.float64) for source in sources])

        times = torch.full((len(group),), top)
        if begin is None:
            x = (uniform() * model.process.classes).long()
            x = torch.where(fixed, model.noised(given, times, uniform()), x)
        else:
            x = model.noised(given, times, uniform())
        for t, s in itertools.pairwise(path):
            if cancelled():
                return out
            x = _back(model, x, t, s, temperature, uniform())
            noise = model.noised(given, torch.full((len(group),), s), uniform())
            x = torch.where(fixed, noise, x)
            stepped(len(group))
        for k, row in zip(indices, x.tolist(), strict=True):
            out[k] = row
    return out


def _back(
    model: MultinomialDiffusion, x: Tensor, t: int, s: int, temperature: float, uniform: Tensor
) -> Tensor:
    """x_s drawn from p(x_s | x_t)."""
    b = len(x)
    now, then = torch.full((b,), t), torch.full((b,), s)
    with network_autocast(model.device):
        log_x0 = model.predict(x, now)
    if temperature != 1.0:
        log_x0 = (log_x0 / temperature).log_softmax(-1)
    return draw(model.process.reverse(log_x0, x, now, then, model.form), uniform)
