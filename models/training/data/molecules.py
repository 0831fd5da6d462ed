"""Molecules as torch-geometric graphs, drawn in size buckets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, Dataset
from torch_geometric.loader import DataLoader

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
        buckets = SizeBuckets(
            self.molecules.sizes, bucket, seed, start=start, process=process, processes=processes
        )
        return iter(DataLoader(MoleculeGraphs(self.molecules), batch_sampler=buckets))

    def card(self) -> dict[str, Any]:
        histogram = self.size_histogram()
        return {
            "elements": [SYMBOLS.get(int(number), f"Z{number}") for number in self.elements],
            "size_range": [min(histogram), max(histogram)],
            "size_histogram": {str(n): int(count) for n, count in histogram.items()},
        }


class MoleculeGraphs(Dataset):  # type: ignore[misc]  # torch-geometric is untyped
    """A data set whose items are torch-geometric `Data` with `z` `[n]` (atomic numbers) and `pos` `[n, 3]`."""

    def __init__(self, molecules: MoleculeDataset) -> None:
        super().__init__()
        self.molecules = molecules
        self.offsets = np.asarray(molecules.offsets)

    def len(self) -> int:
        return len(self.molecules)

    def get(self, idx: int) -> Data:
        atoms = slice(int(self.offsets[idx]), int(self.offsets[idx + 1]))
        # The arrays are mapped read-only; a tensor needs its own memory.
        return Data(
            z=torch.from_numpy(self.molecules.numbers[atoms].astype(np.int64)),
            pos=torch.from_numpy(np.array(self.molecules.positions[atoms], dtype=np.float32)),
        )
