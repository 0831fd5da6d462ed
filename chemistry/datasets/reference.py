"""SMILES of a training set by the published rule, made once and cached."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import rdkit

from chemistry.datasets import store
from chemistry.datasets.molecules import MoleculeDataset
from chemistry.metrics import TableRule, published_smiles


def training_smiles(
    data: MoleculeDataset,
    *,
    rule: TableRule = "qm9",
    cache: Path | None = None,
    progress: Callable[[], None] = lambda: None,
) -> frozenset[str]:
    """The reference for novelty: every valid molecule of `data`, whole, built from its coordinates.

    Takes about half a millisecond a molecule the first time. The cache is named by the data's hash and
    RDKit's version, because another version may write other SMILES.
    """
    folder = (cache or store.cache_folder()) / "reference-smiles"
    path = folder / f"{data.content_hash[:16]}-{rule}-rdkit{rdkit.__version__}.smi"
    if not path.exists():
        with store.exclusive(path):
            if not path.exists():
                _write(path, data, rule, progress)
    return frozenset(path.read_text().split())


def _write(path: Path, data: MoleculeDataset, rule: TableRule, progress: Callable[[], None]) -> None:
    lines = []
    for molecule in data:
        smiles = published_smiles(molecule, rule)
        if smiles is not None:
            lines.append(smiles)
        progress()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    Path(temporary).replace(path)
