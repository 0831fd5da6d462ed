"""Molecules that no shipped model was trained on, as records that the service reads."""

from __future__ import annotations

import numpy as np

from chemistry.bonds.mapped import mapped_mol
from chemistry.datasets import load_dataset
from chemistry.datasets.moses import moses_smiles
from chemistry.errors import DatasetError
from chemistry.formats.sdf import write_sdf
from chemistry.mol import from_mol

Record = tuple[str, str]
"""Text and format: sdf or smiles."""


def held_out_records(source: str, count: int) -> list[Record]:
    """At most `count` molecules spread evenly over the data set's held-out split.

    Of "moses" SMILES of its test split; of "qm9" and of imported sets records with bonds and coordinates of the
    validation split, without the few whose SMILES and coordinates do not fit together. Raises DatasetError.
    """
    if source == "moses":
        lines = moses_smiles("test")
        return [(lines[int(row)], "smiles") for row in _spread(len(lines), count)]
    molecules = load_dataset(source, "valid")
    out: list[Record] = []
    for row in _spread(len(molecules), count):
        record = molecules[int(row)]
        numbers = np.asarray(record.numbers, np.int64)
        mol = mapped_mol(record.smiles, numbers, np.asarray(record.positions, np.float64))
        if mol is not None:
            out.append((write_sdf(from_mol(mol, record.name)), "sdf"))
    if not out:
        raise DatasetError(f"no molecule held out of data set {source!r} has coordinates that fit its SMILES")
    return out


def _spread(n: int, most: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)
