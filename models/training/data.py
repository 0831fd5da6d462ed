"""Molecules as torch-geometric graphs, drawn in size buckets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch_geometric.data import Data, Dataset
from torch_geometric.loader import DataLoader

from chemistry.datasets import MoleculeDataset


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


class SizeBuckets:
    """Endless batches of indices, each of molecules of one size, as a pure function of the seed.

    An epoch shuffles every size's molecules, cuts them into buckets and shuffles the buckets. Bucket number k
    goes to process k mod `processes`, so a run can be resumed at any bucket and with any number of processes.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        bucket: int,
        seed: int,
        *,
        start: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.groups = [np.flatnonzero(sizes == n) for n in np.unique(sizes)]
        self.bucket, self.seed = bucket, seed
        self.start, self.process, self.processes = start, process, processes
        self.per_epoch = sum(-(-len(group) // bucket) for group in self.groups)

    def epoch(self, number: int) -> list[list[int]]:
        """All buckets of one epoch in order."""
        source = np.random.default_rng([self.seed, number])
        buckets = [
            part.tolist()
            for group in self.groups
            for part in np.array_split(source.permutation(group), range(self.bucket, len(group), self.bucket))
        ]
        return [buckets[i] for i in source.permutation(len(buckets))]

    def __iter__(self) -> Iterator[list[int]]:
        position = self.start
        while True:
            number, offset = divmod(position, self.per_epoch)
            for k, indices in enumerate(self.epoch(number)[offset:], start=position):
                if k % self.processes == self.process:
                    yield indices
            position += self.per_epoch - offset


def bucket_loader(molecules: MoleculeDataset, buckets: SizeBuckets) -> DataLoader:
    """torch-geometric's loader over size buckets; every batch reshapes to a dense `[b, n, ...]`."""
    return DataLoader(MoleculeGraphs(molecules), batch_sampler=buckets)
