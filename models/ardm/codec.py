"""Lossless codes of strings: an ANS coder (package `constriction`) fed with the integer network's probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.ardm.integer import IntegerTwin
from models.ardm.likelihood import order_ranks
from models.ardm.model import ARDM
from models.ardm.policy import policy_for
from models.core.coding import CodeError, Decoder, Floats, bits, encode, shares
from models.core.library_file import Block, LibraryError
from models.core.random import generator
from models.strings.lengths import by_length

RAW = 0
"""The length that stands for a string kept as it is."""


class Codec:
    """Blocks of strings to bytes and back, in one fixed order of places per length and a budget of network calls."""

    def __init__(self, model: ARDM, *, order: str = "left-to-right", steps: int = 0) -> None:
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

    def encode(self, strings: Sequence[Sequence[int]]) -> tuple[Block, list[float]]:
        """One block, and the bits that each string costs by the model. An empty string stands for a raw one."""
        told = [self._told(ids) for ids in strings]  # per string, per call: symbols and probabilities
        sizes = np.array([len(ids) for ids in strings])
        parts: list[tuple[NDArray[np.int64], Floats]] = [(sizes, self.lengths)]
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

    def _told(self, ids: Sequence[int]) -> list[tuple[NDArray[np.int64], Floats]]:
        """A known string needs one batch: every call sees what was told before it."""
        if not len(ids):
            return []
        plan = self.plan(len(ids))
        known = torch.tensor([list(ids)])
        rows = torch.full((len(plan), len(ids)), self.model.mask)
        for call in range(1, len(plan)):
            rows[call] = rows[call - 1]
            rows[call, plan[call - 1]] = known[0, plan[call - 1]]
        frequencies = self.twin.frequencies(rows)
        return [
            (known[0, places].numpy(), shares(frequencies[call, places])) for call, places in enumerate(plan)
        ]

    def decode(
        self, blocks: Sequence[Block], stopped: Callable[[], bool] = lambda: False
    ) -> list[list[list[int]]]:
        """The strings of some blocks, decoded side by side; raw ones are empty. Raises LibraryError for bytes that
        are no code. `stopped` is asked before every network call and ends with an empty list.
        """
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
        for call in range(max((len(plan) for plan in plans), default=0)):
            if stopped():
                return []
            active = [k for k, plan in enumerate(plans) if call < len(plan)]
            told: dict[int, Floats] = {}
            for group in by_length([len(strings[k]) for k in active], 256):
                chosen = [active[g] for g in group]
                frequencies = self.twin.frequencies(torch.stack([strings[k] for k in chosen]))
                for row, k in enumerate(chosen):
                    told[k] = shares(frequencies[row, plans[k][call]])
            for k in active:  # in the order of the code within each block
                found = coders[owners[k][0]].take(told[k])
                strings[k][plans[k][call]] = torch.from_numpy(found)
        out: list[list[list[int]]] = [[] for _ in blocks]
        for (number, _), string in zip(owners, strings, strict=True):
            out[number].append(string.tolist())
        return out
