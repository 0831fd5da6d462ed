"""What densities of descriptors share: molecules described in children, percentiles, rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from chemistry.descriptors import Described, describe
from chemistry.reasons import Failure
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.adapters.molecules import Record, failure_data, guarded, read_record
from workers.adapters.percentiles import standing
from workers.cards import Card
from workers.schemas.base import InputRequest


def read_described(records: Sequence[Record]) -> list[Described | Failure]:
    """In a guarded child: descriptors of each record; SMILES need no coordinates."""
    return [_described(record) for record in records]


def _described(record: Record) -> Described | Failure:
    text, form, _ = record
    if form != "smiles":
        found = read_record(record)
        return found if isinstance(found, Failure) else describe(found)
    line = text.strip()
    smiles, _, title = line.partition("\t") if "\t" in line else line.partition(" ")
    return describe(smiles, title.strip())


class DescribedAdapter(FamilyAdapter):
    """One density of descriptors on one device; its family says how it scores and samples."""

    model: Any

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights and where the training molecules stand."""
        card, self.model = load_weights(card, device)
        self.device = device
        self.reference: dict[str, Any] = (card.model_extra or {}).get("reference", {})

    @abstractmethod
    def score(self, found: Sequence[tuple[Item, Described]], request: Any) -> Iterator[dict[str, Any]]:
        """The columns of each molecule's score."""

    @abstractmethod
    def sample(self, item: Item, request: Any) -> dict[str, Any] | Failure:
        """The columns of one drawn row."""

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Score what can be described, or draw row by row."""
        if not isinstance(work.request, InputRequest):
            for done, item in enumerate(work.items, 1):
                if cancelled():
                    return
                yield Outcome(item, work.request, work.capability, self.sample(item, work.request))
                progress(StepProgress(done, len(work.items)))
            return
        ready: list[tuple[Item, Described]] = []
        for item, found in guarded(self._guard, read_described, work.items, cancelled):
            if isinstance(found, Failure):
                yield Outcome(item, work.request, work.capability, found)
            else:
                ready.append((item, found))
        if not ready or cancelled():
            return
        scores = self.score(ready, work.request)
        for done, ((item, described), data) in enumerate(zip(ready, scores, strict=True), 1):
            yield Outcome(item, work.request, work.capability, names_data(described) | data)
            progress(StepProgress(done, len(ready)))

    def encode(self, outcome: Outcome) -> Row:
        """A row, or the reason why there is none."""
        if isinstance(outcome.value, Failure):
            return Row(outcome.item.index, failure_data(outcome.value))
        return Row(outcome.item.index, outcome.value | {"seed": outcome.item.seed})

    def standing(self, value: float) -> dict[str, Any]:
        """Percentile among the training molecules, and whether the row is like them."""
        return standing(value, self.reference)


def names_data(described: Described) -> dict[str, Any]:
    """The columns that name a molecule."""
    return {
        "title": described.title,
        "smiles": described.smiles,
        "formula": described.formula,
        "n_atoms": described.n_atoms,
        "valid": True,
        "passed": True,
    }
