"""What every adapter is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workers.cards import Card
from workers.schemas.base import JobRequest


@dataclass(frozen=True)
class Item:
    """One molecule to make, or one to read: `index` counts from 0 through the whole job.

    The result depends on (job seed, index) and on the record only, never on the shard or the batch.
    """

    index: int
    seed: int  # of the job
    record: bytes | None = None  # for jobs with input: the record's text
    format: str | None = None  # sdf | xyz | smiles | json


@dataclass(frozen=True)
class StepProgress:
    """Network calls done and to do for the items at hand."""

    steps: int
    steps_total: int


Progress = Callable[[StepProgress], None]
"""Told after every network call."""

Cancelled = Callable[[], bool]
"""Whether the work is to end early."""


@dataclass(frozen=True)
class Row:
    """One line of the result table with its texts.

    `data` is JSON; "valid" and "passed" (the request's filters, except uniqueness) are always there.
    """

    index: int
    data: dict[str, Any]
    sdf: str = ""
    xyz: str = ""
    svg: str = ""
    trajectory: str = ""


@dataclass(frozen=True)
class Work:
    """Items ready to compute: what `decode` made of them. `content` belongs to the adapter."""

    capability: str
    request: JobRequest
    items: tuple[Item, ...]
    content: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of one item. `value` belongs to the adapter."""

    item: Item
    request: JobRequest
    capability: str
    value: Any = field(repr=False)


class Adapter(Protocol):
    """Four steps with nothing shared between them, so that wire format and computation cannot mix."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the model once per process. Raises ModelUnavailable."""

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """From records and parameters to tensors. A bad record becomes a failed outcome, not an error."""

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterable[Outcome]:
        """Compute. Asks `cancelled` before every network call and then ends early with what is finished.

        May raise MemoryError or torch's out-of-memory error: the engine tries again with fewer items.
        """

    def encode(self, outcome: Outcome) -> Row:
        """From an outcome to its row and texts."""

    def lost(self, item: Item, code: str, message: str) -> Row:
        """The row of an item that could not be computed at all."""

    def close(self) -> None:
        """End what `setup` started."""
