"""The bonds of a molecule with their kinds and lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from chemistry.bonds.mapped import as_mapped
from chemistry.hessian.mmff import bonded_mol
from chemistry.reasons import Failure
from chemistry.structure import Structure


@dataclass(frozen=True, eq=False)
class BondLengths:
    """Bonds in the order of the molecule: atoms `[m, 2]`, elements by ascending atomic number `[m, 2]`, orders (1.5:
    aromatic), whether in a ring, and lengths in Angstrom, `[m]` each.
    """

    atoms: NDArray[np.int64]
    elements: NDArray[np.int64]
    orders: NDArray[np.float64]
    rings: NDArray[np.bool_]
    lengths: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.orders)

    def key(self, bond: int) -> tuple[int, int, float, bool]:
        """What tells the kind of a bond: two elements, order, in a ring."""
        first, second = self.elements[bond].tolist()
        return first, second, float(self.orders[bond]), bool(self.rings[bond])


def bond_lengths(mol: Chem.Mol) -> BondLengths:
    """The bonds of a sanitized molecule with a conformer and all its hydrogens."""
    bonds = list(mol.GetBonds())
    atoms = np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in bonds], np.int64).reshape(-1, 2)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], np.int64)
    positions = np.asarray(mol.GetConformer().GetPositions(), np.float64)
    return BondLengths(
        atoms,
        np.sort(numbers[atoms], 1),
        np.array([b.GetBondTypeAsDouble() for b in bonds], np.float64),
        np.array([b.IsInRing() for b in bonds], np.bool_),
        np.linalg.norm(positions[atoms[:, 0]] - positions[atoms[:, 1]], axis=1),
    )


def measured_bonds(structure: Structure) -> BondLengths | Failure:
    """The bonds of a structure: its own, else those that distances show; a Failure where there are none.

    Foreign structures: in a `Guard`.
    """
    mol = bonded_mol(structure)
    if isinstance(mol, Failure):
        return mol
    found = bond_lengths(as_mapped(mol))
    if not len(found):
        return Failure.because("no-bonds", "the molecule has no bonds to measure", title=structure.title)
    return found
