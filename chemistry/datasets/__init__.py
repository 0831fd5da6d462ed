"""Molecule data sets: memory-mapped, checked by hash, split once and for all."""

from chemistry.datasets.molecules import SPLITS, MoleculeDataset, MoleculeRecord, Split
from chemistry.datasets.qm9 import load_qm9
from chemistry.datasets.qm9_targets import published_target

__all__ = ["SPLITS", "MoleculeDataset", "MoleculeRecord", "Split", "load_qm9", "published_target"]
