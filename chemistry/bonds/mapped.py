"""Molecules of a data set that gives a SMILES and coordinates, put together where both mean the same atoms; and
checked molecules in the same form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from chemistry.bonds.distance import distance_bonds


def mapped_mol(smiles: str, numbers: NDArray[np.int64], positions: NDArray[np.float64]) -> Chem.Mol | None:
    """A molecule with a conformer, from a SMILES whose atoms (hydrogens last) come in the order of the coordinates.

    None where they do not: the order is believed only when distances show the same bonds.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        mol = None if mol is None else Chem.AddHs(mol)
    if mol is None or [atom.GetAtomicNum() for atom in mol.GetAtoms()] != numbers.tolist():
        return None
    wanted = {tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))) for bond in mol.GetBonds()}
    if {(bond.begin, bond.end) for bond in distance_bonds(numbers, positions).bonds} != wanted:
        return None
    conformer = Chem.Conformer(len(numbers))
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(positions, np.float64))
    mol.AddConformer(conformer, assignId=True)
    return mol


def as_mapped(mol: Chem.Mol) -> Chem.Mol:
    """A copy of a checked molecule with aromatic bonds told as such, as `mapped_mol` has them.

    `check` leaves single and double bonds in their place, which a model that learned aromatic ones would not know.
    """
    copy = Chem.Mol(mol)
    Chem.SetAromaticity(copy)
    return copy
