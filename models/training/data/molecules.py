"""Molecules as torch-geometric graphs, drawn in size buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch

from chemistry.datasets import MoleculeDataset, Split, load_dataset
from models.training.data.buckets import SizeBuckets
from models.weights.files import SYMBOLS


def load(name: str, split: Split) -> MoleculeData:
    """A split of "qm9", of an imported data set by its name, or of a data set folder. Raises DatasetError."""
    return MoleculeData(load_dataset(name, split))


class MoleculeData:
    """A molecule data set for the training loop; batches hold molecules of one size."""

    def __init__(self, molecules: MoleculeDataset) -> None:
        self.molecules = molecules

    @property
    def content_hash(self) -> str:
        return self.molecules.content_hash

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, lightest first."""
        return self.molecules.elements

    def __len__(self) -> int:
        return len(self.molecules)

    def size_histogram(self) -> dict[int, int]:
        """How many molecules have each number of atoms."""
        return self.molecules.size_histogram()

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        """Every batch reshapes to a dense `[b, n, ...]`."""
        for rows in SizeBuckets(
            self.molecules.sizes, bucket, seed, start=start, process=process, processes=processes
        ):
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Molecules `rows`, all of one size: `z` `[b n]` (atomic numbers) and `pos` `[b n, 3]` (Angstrom)."""
        b, n = len(rows), int(self.molecules.sizes[rows[0]])
        atoms = (np.asarray(self.molecules.offsets)[np.asarray(rows)][:, None] + np.arange(n)).reshape(-1)
        # Cut out at once: a graph for every molecule would cost more than a GPU needs to learn from it.
        return Batch(
            z=torch.from_numpy(self.molecules.numbers[atoms].astype(np.int64)),
            pos=torch.from_numpy(self.molecules.positions[atoms].astype(np.float32)),
            batch=torch.arange(b).repeat_interleave(n),
            ptr=n * torch.arange(b + 1),
        )

    def card(self) -> dict[str, Any]:
        histogram = self.size_histogram()
        return {
            "elements": [SYMBOLS.get(int(number), f"Z{number}") for number in self.elements],
            "size_range": [min(histogram), max(histogram)],
            "size_histogram": {str(n): int(count) for n, count in histogram.items()},
        }
