"""New strings of a left-to-right model: a token a call, of which the network sees each place once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from models.ardm.model import ARDM
from models.ardm.sampling import Filled, StoppedError, drawn, nobody
from models.core.errors import ConfigError
from models.core.random import generator
from models.strings.lengths import by_length
from models.strings.transformer import Memory


@torch.inference_mode()
def sample_ordered(
    model: ARDM,
    lengths: Sequence[int],
    seeds: Sequence[int],
    *,
    temperature: float = 1.0,
    most: int = 128,
    progress: Callable[[int], None] = nobody,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Filled]:
    """One string of each length, from its seed alone; log_prob is without log p(n).

    Raises ConfigError for a model of any order or a temperature that is not positive, StoppedError when `stopped`
    says so.
    """
    if model.order != "left-to-right":
        raise ConfigError("only a left-to-right model writes from left to right; use models.ardm.sampling.")
    if temperature <= 0:
        raise ConfigError(f"temperature is {temperature}, but must be positive.")
    out: list[Filled | None] = [None] * len(seeds)
    for rows in by_length(lengths, most):
        n = lengths[rows[0]]
        uniform = torch.stack(
            [torch.rand(n, generator=generator(seeds[row], "sample"), dtype=torch.float64) for row in rows]
        )
        tokens = torch.full((len(rows), n), model.mask)
        total, memory = torch.zeros(len(rows), dtype=torch.float64), Memory()
        for place in range(n):
            if stopped():
                raise StoppedError
            shown = model.before(tokens[:, : place + 1]).to(model.device)
            logits = model.network(shown, whole=n, memory=memory)[:, 0]
            log_p = logits.log_softmax(-1).double().cpu()
            tokens[:, place] = drawn(log_p, uniform[:, place], temperature)
            total += log_p.gather(1, tokens[:, place : place + 1])[:, 0]
            progress(1)
        for row, ids, value in zip(rows, tokens.tolist(), total.tolist(), strict=True):
            out[row] = Filled(tuple(ids), value, n)
    return [one for one in out if one is not None]
