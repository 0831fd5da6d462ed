"""Molecules that the tests share."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest

from chemistry.formats import embed
from chemistry.structure import Structure

# Deadlines measure the machine, not the code.
hypothesis.settings.register_profile("equimol", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("equimol")

HARD_SMILES = {
    "nitro": "C[N+](=O)[O-]",
    "zwitterion": "[NH3+]CC(=O)[O-]",
    "sulfone": "CS(=O)(=O)C",
    "allene": "C=C=C",
    "radical": "[CH2]C",
    "cation": "C[NH3+]",
    "anion": "CC(=O)[O-]",
    "disconnected": "CO.CN",
    "polyyne": "C#CC#CC#C",
    "azide": "CN=[N+]=[N-]",
    "fluoropyridine": "Fc1ccccn1",
    "cubane": "C12C3C4C1C5C2C3C45",
    "hydrogen": "[H][H]",
    "water": "O",
}


def rotation(seed: int) -> np.ndarray:
    """A random orthogonal matrix, a reflection for odd seeds."""
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    if (np.linalg.det(matrix) < 0) != (seed % 2 == 1):
        matrix[:, 0] = -matrix[:, 0]
    return matrix


def bare(structure: Structure, **changes: object) -> Structure:
    """The same atoms without bonds, as a model makes them."""
    kept = {
        "numbers": structure.numbers,
        "positions": structure.positions,
        "charge": structure.charge,
        "title": structure.title,
    }
    return Structure(**{**kept, **changes})


@pytest.fixture(scope="session")
def hard() -> dict[str, Structure]:
    """Embedded molecules that trip naive chemistry."""
    found = {name: embed(smiles, title=name) for name, smiles in HARD_SMILES.items()}
    assert all(isinstance(item, Structure) for item in found.values())
    return found
