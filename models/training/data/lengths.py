"""The bonds of QM9's molecules with their kinds and lengths ("qm9-lengths")."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chemistry.bonds.lengths import bond_lengths
from chemistry.bonds.mapped import mapped_mol
from chemistry.datasets import Split, load_dataset
from chemistry.datasets.store import cache_folder
from models.training.data.buckets import SizeBuckets

MOST: dict[Split, int] = {"train": 40_000, "valid": 2_000, "test": 4_000}
"""Molecules taken of each split, drawn with a fixed seed."""

FEWEST = 20
"""Kinds with fewer bonds in the training data are not learned; their molecules are left out."""


@dataclass(frozen=True)
class LengthBatch:
    """Molecules with equally many bonds: lengths in Angstrom and kinds, `[b, n]` each."""

    lengths: Tensor
    kinds: Tensor

    @property
    def num_graphs(self) -> int:
        """Molecules in the batch, by the name that the training loop knows."""
        return len(self.lengths)

    def to(self, device: torch.device) -> LengthBatch:
        """The same on another device."""
        return replace(self, lengths=self.lengths.to(device), kinds=self.kinds.to(device))


def load(name: str, split: Split) -> LengthData:
    """A split of a set of molecules, `name` is its name and "-lengths"; measured once and cached.

    The kinds are those of the training split. Raises DatasetError when the molecules are not there.
    """
    arrays = {part: _arrays(name, part) for part in dict.fromkeys(("train", split))}
    return LengthData(arrays[split], common_kinds(arrays["train"]))


def _arrays(name: str, split: Split) -> dict[str, NDArray[Any]]:
    path = cache_folder() / name / f"{split}-{MOST[split]}.npz"
    if not path.exists():
        _build(name, split, path)
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _build(name: str, split: Split, path: Path) -> None:
    molecules = load_dataset(name.removesuffix("-lengths"), split)
    rows = np.sort(np.random.default_rng(0).permutation(len(molecules))[: MOST[split]])
    keys, lengths, counts, sizes = [], [], [], []
    for row in rows:
        a, b = int(molecules.offsets[row]), int(molecules.offsets[row + 1])
        numbers = np.asarray(molecules.numbers[a:b], np.int64)
        positions = np.asarray(molecules.positions[a:b], np.float64)
        mol = mapped_mol(molecules.smiles[row], numbers, positions)
        if mol is None:  # 1 in 100: atoms in another order, or bonds of an odd length
            continue
        found = bond_lengths(mol)
        keys.append(np.column_stack([found.elements, found.orders, found.rings]))
        lengths.append(found.lengths)
        counts.append(len(found))
        sizes.append(b - a)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(
        temporary,
        keys=np.concatenate(keys),
        lengths=np.concatenate(lengths),
        counts=np.array(counts),
        sizes=np.array(sizes),
    )
    temporary.replace(path)


def common_kinds(arrays: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Kinds with at least FEWEST bonds, those between heavy atoms first, with the statistics of their lengths."""
    found, which = np.unique(arrays["keys"], axis=0, return_inverse=True)
    out = []
    for number, key in enumerate(found.tolist()):
        lengths = arrays["lengths"][which == number]
        if len(lengths) < FEWEST:
            continue
        out.append(
            {
                "elements": [int(key[0]), int(key[1])],
                "order": key[2],
                "ring": bool(key[3]),
                "mean": round(float(lengths.mean()), 5),
                "scale": round(max(float(lengths.std()), 0.002), 5),
                "low": round(float(lengths.min()), 4),
                "high": round(float(lengths.max()), 4),
                "count": len(lengths),
            }
        )
    return sorted(
        out, key=lambda kind: (1 in kind["elements"], *kind["elements"], kind["order"], kind["ring"])
    )


class LengthData:
    """Molecules as sets of bonds, one after the other in flat arrays; `known` are the kinds by their numbers."""

    def __init__(self, arrays: dict[str, NDArray[Any]], known: list[dict[str, Any]]) -> None:
        self.known = known
        numbers = {(*kind["elements"], kind["order"], kind["ring"]): k for k, kind in enumerate(known)}
        kinds = np.array([numbers.get(tuple(key), -1) for key in arrays["keys"].tolist()], np.int64)
        starts = np.concatenate([[0], np.cumsum(arrays["counts"])])
        owner = np.repeat(np.arange(len(arrays["counts"])), arrays["counts"])
        strange = np.bincount(owner[kinds < 0], minlength=len(arrays["counts"]))
        whole = (arrays["counts"] > 0) & (strange == 0)
        self.starts, self.counts, self.sizes = (
            starts[:-1][whole],
            arrays["counts"][whole],
            arrays["sizes"][whole],
        )
        self.lengths: NDArray[np.float64] = arrays["lengths"]
        self.numbers = kinds

    @property
    def content_hash(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.lengths).tobytes())
        for array in (self.numbers, self.starts, self.counts):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.counts)

    def kinds(self) -> list[dict[str, Any]]:
        """What the model's configuration takes from the data."""
        return self.known

    def molecule(self, row: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Lengths in Angstrom and kinds of one molecule's bonds, `[n]` each."""
        bonds = slice(self.starts[row], self.starts[row] + self.counts[row])
        return self.lengths[bonds], self.numbers[bonds]

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[LengthBatch]:
        """Endless batches of molecules with equally many bonds, in an order that only the seed decides."""
        for rows in SizeBuckets(self.counts, bucket, seed, start=start, process=process, processes=processes):
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> LengthBatch:
        """Molecules `rows`, which have equally many bonds."""
        lengths, kinds = zip(*(self.molecule(int(row)) for row in rows), strict=True)
        return LengthBatch(torch.from_numpy(np.stack(lengths)), torch.from_numpy(np.stack(kinds)))

    def card(self) -> dict[str, Any]:
        histogram = {str(n): c for n, c in sorted(Counter(self.sizes.tolist()).items())}
        names = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
        found = sorted({z for kind in self.known for z in kind["elements"]})
        return {
            "elements": [names[z] for z in found],
            "size_range": [int(self.sizes.min()), int(self.sizes.max())],
            "size_histogram": histogram,
        }
