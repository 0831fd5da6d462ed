"""The order in which items are drawn: buckets of equal size, a pure function of the seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


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
