"""Runs the items of one shard through their adapter.

The seam: nothing above knows about devices or batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from workers.adapters.base import Adapter, Item, Row, StepProgress
from workers.adapters.percentiles import with_standing
from workers.cards import Card
from workers.families import adapter_module
from workers.schemas.base import JobRequest
from workers.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """What to compute: some items of one job."""

    family: str
    card: Card | None
    capability: str
    request: JobRequest
    items: tuple[Item, ...]


@runtime_checkable
class Composing(Protocol):
    """An adapter that works through the adapters of others."""

    def compose(self, engine: Engine) -> None:
        """Take the engine that runs the others; called before `setup`."""


class Engine:
    """The adapters of one process with their loaded models."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings = settings
        self.device = device
        self._adapters: dict[str, Adapter] = {}

    def adapter(self, family: str, card: Card | None) -> Adapter:
        """The adapter of a model, loaded at first use. Raises ModelUnavailable."""
        name = family if card is None else card.id
        if name not in self._adapters:
            made: Adapter = adapter_module(family, self.settings.plugins).Adapter()
            if isinstance(made, Composing):
                made.compose(self)
            made.setup(card, self.device)
            self._adapters[name] = made
        return self._adapters[name]

    def close(self) -> None:
        """End what the adapters started."""
        for adapter in self._adapters.values():
            adapter.close()
        self._adapters.clear()

    def run(
        self,
        shard: Shard,
        progress: Callable[[StepProgress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[Row]:
        """Rows as they are finished, in any order; ends early when `cancelled` says so.

        When memory runs out, the unfinished items go on in halves; an item that does not fit alone gets a
        row that says so.
        """
        adapter = self.adapter(shard.family, shard.card)
        batches = [shard.items]
        before = 0  # network calls of earlier batches
        last = StepProgress(0, 0)

        def step(now: StepProgress) -> None:
            nonlocal last
            last = now
            progress(StepProgress(before + now.steps, before + now.steps_total))

        while batches and not cancelled():
            batch = batches.pop(0)
            finished: set[int] = set()
            try:
                work = adapter.decode(shard.capability, shard.request, batch)
                for outcome in adapter.run(work, step, cancelled):
                    finished.add(outcome.item.index)
                    row = adapter.encode(outcome)
                    scored = shard.capability == "score"
                    yield with_standing(row, shard.card, shard.request) if scored else row
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                left = tuple(item for item in batch if item.index not in finished)
                message = str(error)
            else:
                continue
            finally:
                before, last = before + last.steps, StepProgress(0, 0)
            # outside the handler: its traceback no longer holds the failed attempt's tensors
            free_memory(self.device)
            if not left:
                continue
            if len(left) == 1:
                _log.warning("item %d alone does not fit into memory: %s", left[0].index, message)
                yield adapter.lost(left[0], "out-of-memory", "it does not fit into the device's memory")
            else:
                _log.warning("out of memory with %d molecules: going on with halves", len(left))
                middle = len(left) // 2
                batches[:0] = [left[:middle], left[middle:]]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is memory running out, on the host or on a GPU (torch need not be there)."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def free_memory(device: str) -> None:
    """Give cached GPU memory back after a failed attempt."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def choose_device(wanted: str) -> str:
    """The device for "auto", cpu, cuda or cuda:N.

    Only for the worker's child: CUDA does not survive a fork.
    """
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
