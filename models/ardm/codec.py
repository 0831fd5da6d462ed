"""Lossless codes of strings: an ANS coder (package `constriction`) fed with the integer network's probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.ardm.integer import IntegerTwin
from models.ardm.likelihood import order_ranks
from models.ardm.model import ARDM
from models.ardm.policy import policy_for
from models.core.coding import CodeError, Decoder, Floats, bits, encode, shares
from models.core.errors import ConfigError
from models.core.library_file import Block, LibraryError
from models.core.random import generator
from models.strings.lengths import by_length
from models.strings.transformer import Memory

RAW = 0
"""The length that stands for a string kept as it is."""
TOGETHER = 256
"""Strings decoded side by side."""

Strings = Sequence[Sequence[int]]
Told = list[tuple[NDArray[np.int64], Floats]]
"""Of a string, for every call: the symbols of the places that it tells, and their probabilities."""


class Codec:
    """Blocks of strings to bytes and back, in one fixed order of places per length and a budget of network calls.

    Raises ConfigError for another order or a budget where the model goes from left to right.
    """

    def __init__(self, model: ARDM, *, order: str = "left-to-right", steps: int = 0) -> None:
        if model.order == "left-to-right" and (order != model.order or steps):
            raise ConfigError(
                "a left-to-right model codes from left to right, a token a call; leave order and steps out."
            )
        self.model, self.twin = model, IntegerTwin(model)
        self.order, self.steps = order, steps
        counts = np.array([0.5, *(0.5 for _ in range(model.longest))])
        for n, count in model.config["lengths"].items():
            counts[int(n)] += count
        self.lengths: Floats = counts / counts.sum()
        self._plans: dict[int, list[Tensor]] = {}

    def plan(self, n: int) -> list[Tensor]:
        """The places told at each network call."""
        if n not in self._plans:
            place = order_ranks(n, self.order, generator(0, f"codec {n}")).argsort()
            nats = [part["nats"] for part in self.model.config.get("difficulty", ())]
            policy = policy_for(n, self.steps or None, nats[0] if nats else ())
            self._plans[n] = list(torch.split(place, policy))
        return self._plans[n]

    # --- to bytes ---------------------------------------------------------------------------------------------

    def encode(self, strings: Strings) -> tuple[Block, list[float]]:
        """One block, and the bits that each string costs by the model. An empty string stands for a raw one."""
        told = self._told(strings)
        sizes = np.array([len(ids) for ids in strings])
        parts: Told = [(sizes, self.lengths)]
        for call in range(max((len(calls) for calls in told), default=0)):
            now = [calls[call] for calls in told if call < len(calls)]
            parts.append(
                (np.concatenate([part[0] for part in now]), np.concatenate([part[1] for part in now]))
            )
        cost = [
            float(-np.log2(self.lengths[len(ids)])) + sum(bits(*part) for part in calls)
            for ids, calls in zip(strings, told, strict=True)
        ]
        return Block(len(strings), encode(parts)), cost

    def _told(self, strings: Strings) -> list[Told]:
        """Known strings need one look each: every call sees what was told before it."""
        out: list[Told] = [[] for _ in strings]
        together = TOGETHER if self.model.order == "left-to-right" else 1
        for rows in by_length([len(ids) for ids in strings], together):
            known = torch.tensor([list(strings[row]) for row in rows])
            if not known.shape[1]:
                continue
            plan = self.plan(known.shape[1])
            for row, ids, found in zip(rows, known, self._known(known, plan), strict=True):
                out[row] = [(ids[places].numpy(), shares(found[places])) for places in plan]
        return out

    def _known(self, known: Tensor, plan: Sequence[Tensor]) -> Tensor:
        """Frequencies `[b, n, K]` of every place of known strings `[b, n]`, before the call that tells it."""
        if self.model.order == "left-to-right":
            return self.twin.frequencies(self.model.before(known))
        (ids,) = known
        rows = torch.full((len(plan), len(ids)), self.model.mask)
        for call in range(1, len(plan)):
            rows[call] = rows[call - 1]
            rows[call, plan[call - 1]] = ids[plan[call - 1]]
        turn = torch.zeros(len(ids), dtype=torch.long)
        for call, places in enumerate(plan):
            turn[places] = call
        return self.twin.frequencies(rows)[turn, torch.arange(len(ids))][None]

    # --- and back ---------------------------------------------------------------------------------------------

    def decode(
        self, blocks: Sequence[Block], stopped: Callable[[], bool] = lambda: False
    ) -> list[list[list[int]]]:
        """The strings of some blocks, decoded side by side; raw ones are empty. Raises LibraryError for bytes that
        are no code. `stopped` is asked before every network call and ends with an empty list.
        """
        out: list[list[list[int]]] = []
        ends = np.cumsum([block.molecules for block in blocks]).tolist()
        numbered = zip(ends, blocks, strict=True)
        for _, some in groupby(numbered, key=lambda pair: (pair[0] - 1) // TOGETHER):
            found = self._decode([block for _, block in some], stopped)
            if found is None:
                return []
            out += found
        return out

    def _decode(self, blocks: Sequence[Block], stopped: Callable[[], bool]) -> list[list[list[int]]] | None:
        """The strings of some blocks; None when stopped."""
        try:
            coders = [Decoder(block.code) for block in blocks]
        except CodeError as error:
            raise LibraryError(f"the library is damaged: {error}") from error
        sizes = [
            coder.take(self.lengths, block.molecules).tolist()
            for coder, block in zip(coders, blocks, strict=True)
        ]
        owners = [(number, row) for number, found in enumerate(sizes) for row in range(len(found))]
        flat = [size for found in sizes for size in found]
        strings = [torch.full((size,), self.model.mask) for size in flat]
        plans = [self.plan(size) if size else [] for size in flat]
        memory = Memory()
        for call in range(max((len(plan) for plan in plans), default=0)):
            if stopped():
                return None
            active = [k for k, plan in enumerate(plans) if call < len(plan)]
            places = {k: plans[k][call] for k in active}
            if self.model.order == "left-to-right":
                told = self._next(strings, active, call, memory)
            else:
                told = self._hidden(strings, active, places)
            for k in active:  # in the order of the code within each block
                found = coders[owners[k][0]].take(told[k])
                strings[k][places[k]] = torch.from_numpy(found)
        out: list[list[list[int]]] = [[] for _ in blocks]
        for (number, _), string in zip(owners, strings, strict=True):
            out[number].append(string.tolist())
        return out

    def _next(
        self, strings: Sequence[Tensor], active: Sequence[int], place: int, memory: Memory
    ) -> dict[int, Floats]:
        """Probabilities `[1, K]` of one place of all active strings. The longest come first, so that those that end
        are the last ones in the memory.
        """
        rows = sorted(active, key=lambda k: -len(strings[k]))
        shown = self.model.before(torch.stack([strings[k][: place + 1] for k in rows]))
        whole = torch.tensor([len(strings[k]) for k in rows])
        found = shares(self.twin.frequencies(shown, whole=whole, memory=memory)[:, 0])
        return {k: found[row : row + 1] for row, k in enumerate(rows)}

    def _hidden(
        self, strings: Sequence[Tensor], active: Sequence[int], places: dict[int, Tensor]
    ) -> dict[int, Floats]:
        """Probabilities `[k, K]` of the places of every active string that this call tells."""
        told: dict[int, Floats] = {}
        for group in by_length([len(strings[k]) for k in active], TOGETHER):
            chosen = [active[g] for g in group]
            frequencies = self.twin.frequencies(torch.stack([strings[k] for k in chosen]))
            for row, k in enumerate(chosen):
                told[k] = shares(frequencies[row, places[k]])
        return told
