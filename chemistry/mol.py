"""Between `Structure` and RDKit molecules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem

from chemistry.structure import Bond, Structure

MAX_RINGS = 12
"""Independent rings allowed to a molecule that cannot be sanitized; larger ones get one for every four atoms."""

_BOND_TYPES = {
    1.0: Chem.BondType.SINGLE,
    1.5: Chem.BondType.AROMATIC,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
    4.0: Chem.BondType.QUADRUPLE,
}


def to_mol(
    structure: Structure,
    bonds: Sequence[Bond] | None = None,
    atom_charges: Sequence[int] | None = None,
) -> Chem.RWMol:
    """An unsanitized molecule with every hydrogen explicit and one 3D conformer.

    Without `bonds` both they and the charges are those that the structure carries. Atoms take no implicit
    hydrogens, so that what is missing in space shows as a radical and is not filled in silently.
    """
    if bonds is None:
        bonds, atom_charges = structure.bonds or (), structure.atom_charges
    mol = Chem.RWMol()
    for index, number in enumerate(structure.numbers.tolist()):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        if atom_charges is not None:
            atom.SetFormalCharge(int(atom_charges[index]))
        mol.AddAtom(atom)
    for begin, end, order in bonds:
        mol.AddBond(begin, end, _BOND_TYPES[order])
        if order == 1.5:
            mol.GetBondBetweenAtoms(begin, end).SetIsAromatic(True)
            for index in (begin, end):
                mol.GetAtomWithIdx(index).SetIsAromatic(True)
    conformer = Chem.Conformer(structure.n_atoms)
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(structure.positions))
    mol.AddConformer(conformer, assignId=True)
    if structure.title:
        mol.SetProp("_Name", structure.title)
    return mol


def refused_mol(
    structure: Structure, bonds: Sequence[Bond], atom_charges: Sequence[int] | None = None
) -> Chem.RWMol:
    """A molecule that RDKit cannot sanitize, fit to be written and drawn: without bonds if they are a tangle.

    Collapsed clouds of atoms have hundreds of rings, on which RDKit's ring search, writer and reader take
    minutes and its drawer crashes. What it can sanitize has bounded valences and needs no such care.
    """
    mol = to_mol(structure, bonds, atom_charges)
    n_rings = len(bonds) - structure.n_atoms + len(Chem.GetMolFrags(mol))
    tangle = n_rings > max(MAX_RINGS, structure.n_atoms // 4)
    return to_mol(structure, (), atom_charges) if tangle else mol


def from_mol(mol: Chem.Mol, title: str = "", properties: dict[str, str] | None = None) -> Structure:
    """The structure of a molecule with a conformer, with its bonds and charges.

    Raises BadStructureError for dummy atoms and coordinates that are not finite.
    """
    charges = tuple(atom.GetFormalCharge() for atom in mol.GetAtoms())
    bonds = bonds_of(mol)
    return Structure(
        numbers=np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        positions=mol.GetConformer().GetPositions(),
        charge=sum(charges),
        title=title,
        # Several neutral atoms without a bond come from a file that only lists atoms.
        bonds=bonds if bonds or any(charges) or len(charges) == 1 else None,
        atom_charges=charges if any(charges) else None,
        properties=properties or {},
    )


def bonds_of(mol: Chem.Mol) -> tuple[Bond, ...]:
    """The bonds of a molecule; coordination counts as single, hydrogen bonds and zero order not at all."""
    return tuple(
        Bond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _order(bond))
        for bond in mol.GetBonds()
        if bond.GetBondType() not in (Chem.BondType.ZERO, Chem.BondType.HYDROGEN)
    )


def _order(bond: Chem.Bond) -> float:
    order = bond.GetBondTypeAsDouble()
    return order if order in _BOND_TYPES else 1.0
