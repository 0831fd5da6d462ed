"""Counts of atom environments, folded to a fixed length."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

BITS = 128
RADIUS = 1


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def count_fingerprint(mol: Chem.Mol) -> NDArray[np.float64]:
    """How often each folded Morgan environment of radius 0 and 1 occurs, float64 [128]."""
    counts: NDArray[np.float64] = _generator().GetCountFingerprintAsNumPy(mol).astype(np.float64)
    return counts
