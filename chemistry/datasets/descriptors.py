"""Descriptors of a data set's molecules, computed once and kept beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from chemistry.datasets import Split, load_dataset, store
from chemistry.descriptors.reading import described_mol
from chemistry.reasons import Failure

VERSION = 1
"""Raised when a descriptor changes, so that no old file is read."""

MOST: dict[Split, int] = {"train": 20_000, "valid": 5_000, "test": 5_000}
"""Molecules of each split, evenly spread over it."""


@dataclass(frozen=True, eq=False)
class DescriptorTable:
    """rows float64 [n, 17], counts float32 [n, 128], and which molecule of the split each row is, int64 [n]."""

    rows: NDArray[np.float64]
    counts: NDArray[np.float32]
    index: NDArray[np.int64]


def describe_all(smiles: Iterable[str]) -> DescriptorTable:
    """Descriptors of all SMILES that RDKit accepts."""
    rows, counts, index = [], [], []
    with rdBase.BlockLogs():
        for number, text in enumerate(smiles):
            mol = Chem.MolFromSmiles(text)
            found = None if mol is None else described_mol(mol)
            if found is None or isinstance(found, Failure):
                continue
            rows.append(found.row)
            counts.append(found.counts.astype(np.float32))
            index.append(number)
    return DescriptorTable(np.array(rows), np.array(counts), np.array(index, dtype=np.int64))


def load_descriptors(source: str, split: Split, cache: Path | None = None) -> DescriptorTable:
    """The descriptors of a split of `source`; the first call computes them (seconds for QM9's training split).

    Raises DatasetError when there is no such data set.
    """
    molecules = load_dataset(source, split)
    chosen = spread(len(molecules), MOST[split])
    path = (cache or store.cache_folder()) / f"descriptors-{VERSION}-{molecules.content_hash[:16]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = describe_all(molecules.smiles[int(row)] for row in chosen)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, rows=found.rows, counts=found.counts, index=chosen[found.index])
        Path(temporary).replace(path)
    with np.load(path, allow_pickle=False) as file:
        return DescriptorTable(file["rows"], file["counts"], file["index"])


def spread(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` of n indices, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def column(table: DescriptorTable, name: str, names: Sequence[str]) -> NDArray[np.float64]:
    """One descriptor of all rows."""
    return table.rows[:, list(names).index(name)]
