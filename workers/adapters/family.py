"""What the adapters of the shipped families do alike; each says only what it does otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from chemistry.guard import Guard
from chemistry.reasons import Failure
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.molecules import failure_data, lost_row
from workers.cards import Card
from workers.schemas.base import JobRequest


class FamilyAdapter(ABC):
    """Foreign molecules are parsed by killable children only, rows are made where they are computed."""

    patience: ClassVar[float] = 45.0
    """Seconds that a child may take for a call."""

    def __init__(self) -> None:
        self._guard = Guard(timeout_seconds=self.patience)  # starts nothing before it is first asked

    @abstractmethod
    def setup(self, card: Card | None, device: str) -> None:
        """Load the model once per process. Raises ModelUnavailable."""

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """The items as they are: molecules are read later, in children."""
        return Work(capability, request, tuple(items))

    @abstractmethod
    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Compute; see `workers.adapters.base.Adapter`."""

    def encode(self, outcome: Outcome) -> Row:
        """The columns that `run` made, or the reason why there are none."""
        value = outcome.value
        return Row(outcome.item.index, failure_data(value) if isinstance(value, Failure) else value)

    def lost(self, item: Item, code: str, message: str) -> Row:
        """The row of an item that could not be computed at all."""
        return lost_row(item, code, message)

    def close(self) -> None:
        """End the children."""
        self._guard.close()


def counted(progress: Progress, total: int) -> Callable[[int], None]:
    """To be told of so many more network calls; `progress` hears how many of `total` are done."""
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        progress(StepProgress(min(done, total), total))

    return more
