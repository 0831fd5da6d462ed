"""Where training data come from: each source is a module here, found by the names that it serves."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol

from chemistry.datasets import Split

SOURCES: dict[str, str] = {
    "qm9-properties": "properties",
    "nbody": "nbody",
    "graphs": "graphs",
    "qm9-descriptors": "rows",
    "qm9-counts": "rows",
    "qm9-fingerprints": "fingerprints",
    "moses-smiles": "strings",
    "qm9-smiles": "strings",
    "dw4": "particles",
    "lj13": "particles",
    "qm9-charges": "charges",
    "qm9-lengths": "lengths",
}
"""Names that a module of their own serves; every other name is a set of molecules (qm9, or an imported one)."""


class TrainingData(Protocol):
    """One split of a data set, as the training loop and the card need it."""

    @property
    def content_hash(self) -> str:
        """Equal exactly when the data are equal."""

    def __len__(self) -> int: ...

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        """Endless torch-geometric batches of at most `bucket` items of equal shape.

        A pure function of the seed: batch number k goes to process k mod `processes`, counting from `start`, so
        that a run can be resumed at any batch and with any number of processes.
        """

    def card(self) -> dict[str, Any]:
        """What the data set says about the model's domain: elements, sizes, ranges."""


def training_data(name: str, split: Split) -> TrainingData:
    """A split of the data set `name`. Raises DatasetError when there is none."""
    module = importlib.import_module(f"models.training.data.{SOURCES.get(name, 'molecules')}")
    found: TrainingData = module.load(name, split)
    return found
