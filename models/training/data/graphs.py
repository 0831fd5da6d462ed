"""Random graphs by seed ("graphs"): Erdos-Renyi ones and ones with two communities, as in the published experiment.

Erdos-Renyi: 7 to 16 nodes, every edge with probability 0.25. Community: two communities of 6 to 10 nodes, edges
inside with probability 0.7, across with 0.01 and at least one. Half of the graphs are of each kind.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from chemistry.datasets import Split
from models.training.data.buckets import SizeBuckets

KINDS = ("erdos-renyi", "community")
COUNTS: dict[Split, int] = {"train": 5000, "valid": 500, "test": 500}
"""Graphs of each kind."""

DENSITY, SIZES = 0.25, (7, 16)
INSIDE, ACROSS, COMMUNITIES = 0.7, 0.01, (6, 10)
SEED = 7

Adjacency = NDArray[np.uint8]


def load(name: str, split: Split) -> GraphData:  # noqa: ARG001 - there is but one mixture
    """A split; the three have generators of their own."""
    source = np.random.default_rng([SEED, list(COUNTS).index(split)])
    graphs = [erdos_renyi(source) for _ in range(COUNTS[split])]
    graphs += [community(source) for _ in range(COUNTS[split])]
    kinds = np.repeat([0, 1], COUNTS[split])
    return GraphData(graphs, kinds)


def symmetric(probability: NDArray[np.float64], source: np.random.Generator) -> Adjacency:
    """A graph whose edges are drawn independently with the given probabilities."""
    upper = np.triu(source.random(probability.shape) < probability, 1)
    return (upper | upper.T).astype(np.uint8)


def erdos_renyi(source: np.random.Generator) -> Adjacency:
    """One graph of 7 to 16 nodes."""
    n = int(source.integers(SIZES[0], SIZES[1] + 1))
    return symmetric(np.full((n, n), DENSITY), source)


def community(source: np.random.Generator) -> Adjacency:
    """One graph of two communities, never quite apart; its nodes come community by community."""
    sizes = source.integers(COMMUNITIES[0], COMMUNITIES[1] + 1, 2)
    owner = np.repeat([0, 1], sizes)
    graph = symmetric(np.where(owner[:, None] == owner, INSIDE, ACROSS), source)
    if not graph[: sizes[0], sizes[0] :].any():
        graph[0, sizes[0]] = graph[sizes[0], 0] = 1
    return graph


class GraphData:
    """Graphs as adjacency matrices, with the kind of each."""

    def __init__(self, graphs: list[Adjacency], kinds: NDArray[np.int64]) -> None:
        self.graphs, self.kinds = graphs, kinds
        self.sizes = np.array([len(graph) for graph in graphs])

    @property
    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for graph in self.graphs:
            digest.update(f"{len(graph)}:".encode() + np.packbits(graph).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.graphs)

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        for rows in SizeBuckets(self.sizes, bucket, seed, start=start, process=process, processes=processes):
            yield self.batch(rows)

    def batch(self, rows: list[int]) -> Any:
        """Graphs `rows`, all of one size, as a torch-geometric Batch: `adjacency` `[b, pairs]` (i < j) and `kind`."""
        n = int(self.sizes[rows[0]])
        i, j = np.triu_indices(n, 1)
        values = np.stack([self.graphs[row][i, j] for row in rows])
        return Batch(
            adjacency=torch.from_numpy(values).float(), kind=torch.from_numpy(self.kinds[rows]),
            num_nodes=n * len(rows),
            batch=torch.arange(len(rows)).repeat_interleave(n), ptr=torch.arange(len(rows) + 1) * n,
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Kinds with their groups, sizes, and the share of pairs that are edges."""
        groups = {name: Counter[int]() for name in KINDS}
        for graph, kind in zip(self.graphs, self.kinds, strict=True):
            if KINDS[kind] == "erdos-renyi":
                groups["erdos-renyi"][len(graph)] += 1
        low, high = COMMUNITIES
        groups["community"] = Counter(dict.fromkeys(range(low, high + 1), 1))
        pairs = sum(len(graph) * (len(graph) - 1) for graph in self.graphs)
        return {
            "kinds": {
                name: {"groups": count, "sizes": {str(n): c for n, c in sorted(groups[name].items())}}
                for name, count in zip(KINDS, (1, 2), strict=True)
            },
            "sizes": {str(n): int(c) for n, c in sorted(Counter(self.sizes.tolist()).items())},
            "density": float(sum(int(graph.sum()) for graph in self.graphs) / pairs),
        }

    def card(self) -> dict[str, Any]:
        return {"size_range": [int(self.sizes.min()), int(self.sizes.max())], "kinds": list(KINDS)}
