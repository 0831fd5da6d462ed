"""Molecular graphs with partial charges of their atoms ("qm9-charges")."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from chemistry.charges import mapped_graph
from chemistry.datasets import Split, load_dataset
from chemistry.datasets.store import cache_folder
from models.convexp.graphs import atom_features, bond_features
from models.training.data.buckets import SizeBuckets

MOST: dict[Split, int] = {"train": 40_000, "valid": 1_000, "test": 4_000}
"""Molecules taken of each split, drawn with a fixed seed."""


def load(name: str, split: Split) -> ChargeData:
    """A split of QM9 with charges, computed once and cached. Raises DatasetError when QM9 is not there."""
    path = cache_folder() / name / f"{split}-{MOST[split]}.npz"
    if not path.exists():
        _build(name, split, path)
    with np.load(path, allow_pickle=False) as arrays:
        return ChargeData({key: arrays[key] for key in arrays.files})


def _build(name: str, split: Split, path: Path) -> None:
    molecules = load_dataset(name.removesuffix("-charges"), split)
    rows = np.sort(np.random.default_rng(0).permutation(len(molecules))[: MOST[split]])
    parts: dict[str, list[Any]] = {
        key: [] for key in ("atoms", "bonds", "orders", "charges", "sizes", "counts")
    }
    for row in rows:
        a, b = int(molecules.offsets[row]), int(molecules.offsets[row + 1])
        numbers = np.asarray(molecules.numbers[a:b], np.int64)
        found = mapped_graph(molecules.smiles[row], numbers, np.asarray(molecules.positions[a:b], np.float64))
        if found is None:  # 1 in 100: atoms in another order, or bonds of an odd length
            continue
        graph, charges = found
        parts["atoms"].append(np.stack([graph.numbers, graph.charges, graph.rings, graph.aromatic], 1))
        parts["bonds"].append(graph.bonds)
        parts["orders"].append(graph.orders)
        parts["charges"].append(charges)
        parts["sizes"].append([b - a])
        parts["counts"].append([len(graph.orders)])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, **{key: np.concatenate(value) for key, value in parts.items()})  # type: ignore[arg-type]
    temporary.replace(path)


class ChargeData:
    """Graphs `(atoms, bonds, orders)` with charges, one after the other in flat arrays."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self.sizes: NDArray[np.int64] = arrays["sizes"]
        self.starts = np.concatenate([[0], np.cumsum(arrays["sizes"])])
        self.bond_starts = np.concatenate([[0], np.cumsum(arrays["counts"])])

    @property
    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for key in sorted(self.arrays):
            digest.update(np.ascontiguousarray(self.arrays[key]).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.sizes)

    def molecule(self, row: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Atoms `[n, 4]` (number, formal charge, ring, aromatic), bonds `[m, 2]`, orders `[m]`, charges `[n]`."""
        a, b = self.starts[row], self.starts[row + 1]
        c, d = self.bond_starts[row], self.bond_starts[row + 1]
        arrays = self.arrays
        return arrays["atoms"][a:b], arrays["bonds"][c:d], arrays["orders"][c:d], arrays["charges"][a:b]

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        for rows in SizeBuckets(self.sizes, bucket, seed, start=start, process=process, processes=processes):
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> Any:
        """Molecules `rows` as a torch-geometric Batch with `atoms`, `edge_index`, `edges`, `charges`."""
        return graph_batch([self.molecule(int(row)) for row in rows])

    def element_statistics(self) -> dict[str, list[float]]:
        """Mean, standard deviation and count of the charges of each element: the baseline."""
        numbers = self.arrays["atoms"][:, 0]
        out = {}
        for z in sorted(set(numbers.tolist())):
            values = self.arrays["charges"][numbers == z]
            out[str(z)] = [float(values.mean()), float(values.std()), len(values)]
        return out

    def summary(self) -> dict[str, Any]:
        """What the model's configuration takes from the data."""
        return {"elements": self.element_statistics()}

    def card(self) -> dict[str, Any]:
        histogram = {str(n): c for n, c in sorted(Counter(self.sizes.tolist()).items())}
        names = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
        return {
            "elements": [names[int(z)] for z in sorted(set(self.arrays["atoms"][:, 0].tolist()))],
            "size_range": [int(self.sizes.min()), int(self.sizes.max())],
            "size_histogram": histogram,
        }


def graph_batch(molecules: Sequence[tuple[NDArray[Any], ...]]) -> Any:
    """Molecules of any sizes in one batch; every bond becomes two directed edges."""
    atoms, ends, edges, charges, sizes, shift = [], [], [], [], [], 0
    for given, bonds, orders, values in molecules:
        atoms.append(given)
        both = np.concatenate([bonds, bonds[:, ::-1]]).T + shift
        ends.append(both)
        edges.append(np.concatenate([orders, orders]))
        charges.append(values)
        sizes.append(len(given))
        shift += len(given)
    return Batch(
        atoms=atom_features(torch.from_numpy(np.concatenate(atoms))),
        edge_index=torch.from_numpy(np.ascontiguousarray(np.concatenate(ends, 1))),
        edges=bond_features(torch.from_numpy(np.concatenate(edges))),
        charges=torch.from_numpy(np.concatenate(charges)).float(),
        batch=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        ptr=torch.tensor(np.concatenate([[0], np.cumsum(sizes)])),
        num_nodes=shift,
    )
