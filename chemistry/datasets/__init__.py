"""Molecule data sets: memory-mapped, checked by hash, split once and for all."""

from __future__ import annotations

from pathlib import Path

from chemistry.datasets import store
from chemistry.datasets.molecules import SPLITS, MoleculeDataset, MoleculeRecord, Split
from chemistry.datasets.qm9 import load_qm9
from chemistry.datasets.qm9_targets import published_target

__all__ = [
    "SPLITS",
    "MoleculeDataset",
    "MoleculeRecord",
    "Split",
    "load_dataset",
    "load_qm9",
    "published_target",
]


def load_dataset(source: str | Path, split: Split) -> MoleculeDataset:
    """A split of "qm9", of an imported data set by its name, or of a data set folder. Raises DatasetError."""
    if source == "qm9":
        return load_qm9(split)
    folder = Path(source)
    if not (folder / store.DESCRIPTION).exists() and len(folder.parts) == 1:
        folder = store.named_folder(str(source))
    return store.read(folder, split)
