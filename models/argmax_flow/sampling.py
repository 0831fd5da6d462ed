"""New strings, and paths between two: both are decoded from points of the space where the flow is standard normal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from models.argmax_flow.model import ArgmaxFlow
from models.core.errors import ConfigError
from models.core.random import generator, stacked_normal
from models.strings.lengths import by_length, stacked
from models.survae.contract import Noise

MOST = 128
"""Strings decoded at once."""
Way = Literal["spherical", "linear"]
WAYS: tuple[Way, ...] = get_args(Way)


@torch.inference_mode()
def sample(
    model: ArgmaxFlow,
    seeds: Sequence[int],
    *,
    bounds: tuple[int, int] | None = None,
    temperature: float = 1.0,
    stopped: Callable[[], bool] = lambda: False,
    stepped: Callable[[int], None] = lambda _: None,
) -> list[list[int] | None]:
    """Token ids of one string per seed, with lengths as in the data or between two bounds; None where not finished
    when `stopped` said so. temperature: standard deviation of the normal numbers; 0 takes the middle of every map.
    stepped: told how many strings every network call is for.
    """
    if temperature < 0:
        raise ConfigError(f"temperature is {temperature}, but must not be negative.")
    lengths = model.lengths.draw(seeds, *(bounds or (1, None)))
    out: list[list[int] | None] = [None] * len(seeds)
    rows: list[int]

    def watch() -> None:
        if stopped():
            raise InterruptedError
        stepped(len(rows))

    for rows in by_length(lengths, MOST):
        sources = [generator(seeds[row], "sample") for row in rows]
        shape = (lengths[rows[0]], model.codes.channels)
        z = temperature * stacked_normal(sources, shape, dtype=torch.float64)
        try:
            made = model.decode(z.to(model.device), watch).tolist()
        except InterruptedError:
            return out
        for row, ids in zip(rows, made, strict=True):
            out[row] = ids
    return out


@dataclass(frozen=True)
class Stop:
    """A point of a path: 0 is its start and 1 its end."""

    position: float
    tokens: tuple[int, ...]


def between(start: Tensor, end: Tensor, position: float, way: Way) -> Tensor:
    """The point at `position` in 0..1 between two tensors of one shape.

    Spherical: on the arc (Shoemake, 1985), so that a point between two draws is as far from zero as draws are.
    """
    if way == "linear":
        return (1 - position) * start + position * end
    cosine = (start * end).sum() / (start.norm() * end.norm()).clamp_min(1e-12)
    angle = torch.acos(cosine.clamp(-1, 1))
    if angle < 1e-6:
        return (1 - position) * start + position * end
    return (torch.sin((1 - position) * angle) * start + torch.sin(position * angle) * end) / torch.sin(angle)


@torch.inference_mode()
def path(
    model: ArgmaxFlow,
    start: Sequence[int],
    end: Sequence[int],
    positions: Sequence[float],
    seed: int,
    *,
    way: Way = "spherical",
    watch: Callable[[], None] = lambda: None,
) -> list[Stop]:
    """Strings on the way from one to another. At 0 and 1 they are the two themselves: the flow is invertible.

    v is drawn for both ends by the seed. The number of tokens goes evenly from one end's to the other's; where it is
    more than an end's own, that end's z is continued by normal numbers of the seed. `watch` may raise.
    """
    if way not in WAYS:
        raise ConfigError(f"the way is {way!r}; choose one of {', '.join(WAYS)}.")
    longest = max(len(start), len(end))
    ends = []
    for name, tokens in (("start", start), ("end", end)):
        source = generator(seed, name)
        given = stacked([list(tokens)]).to(model.device)
        z = model.encode(given, Noise(source), torch.float64)[0]
        more = stacked_normal([source], (longest - len(tokens), model.codes.channels), dtype=torch.float64)[0]
        ends.append(torch.cat([z, more.to(z.device)]))
    lengths = [round((1 - at) * len(start) + at * len(end)) for at in positions]
    out: list[Stop | None] = [None] * len(positions)
    for rows in by_length(lengths, MOST):
        n = lengths[rows[0]]
        points = [between(ends[0][:n], ends[1][:n], positions[row], way) for row in rows]
        for row, ids in zip(rows, model.decode(torch.stack(points), watch).tolist(), strict=True):
            out[row] = Stop(positions[row], tuple(ids))
    return [stop for stop in out if stop is not None]
