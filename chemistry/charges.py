"""Molecules as graphs, and partial charges of their atoms by electronegativity equalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from chemistry.bonds.mapped import as_mapped, mapped_mol
from chemistry.hessian.mmff import bonded_mol
from chemistry.reasons import Failure
from chemistry.structure import Structure


@dataclass(frozen=True, eq=False)
class MolecularGraph:
    """Atoms (number, formal charge, in a ring, aromatic: `[n]` each) and bonds `[m, 2]` with their orders `[m]`."""

    numbers: NDArray[np.int64]
    charges: NDArray[np.int64]
    rings: NDArray[np.int64]
    aromatic: NDArray[np.int64]
    bonds: NDArray[np.int64]
    orders: NDArray[np.float64]


def graph_of(mol: Chem.Mol) -> MolecularGraph:
    """The graph of a sanitized molecule with all its hydrogens."""
    atoms, bonds = list(mol.GetAtoms()), list(mol.GetBonds())
    return MolecularGraph(
        np.array([atom.GetAtomicNum() for atom in atoms], np.int64),
        np.array([atom.GetFormalCharge() for atom in atoms], np.int64),
        np.array([atom.IsInRing() for atom in atoms], np.int64),
        np.array([atom.GetIsAromatic() for atom in atoms], np.int64),
        np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in bonds], np.int64).reshape(-1, 2),
        np.array([b.GetBondTypeAsDouble() for b in bonds], np.float64),
    )


def eem_charges(mol: Chem.Mol) -> NDArray[np.float64] | Failure:
    """Charges `[n]` in e of a molecule with bonds and a 3D conformer; they depend on the geometry and add up to zero.

    Electronegativity equalization (Mortier et al., J. Am. Chem. Soc. 108, 4315, 1986) as RDKit computes it.
    """
    with rdBase.BlockLogs():
        charges = np.array(rdMolDescriptors.CalcEEMcharges(mol), np.float64)
    if not np.isfinite(charges).all() or np.abs(charges).max(initial=0.0) > 5:
        return Failure.because(
            "no-parameters", "electronegativity equalization gives no sensible charges here"
        )
    return charges


def charged_graph(structure: Structure) -> tuple[MolecularGraph, NDArray[np.float64] | Failure] | Failure:
    """The graph of a structure and its charges; a Failure where no bonds are found. Foreign ones: in a `Guard`."""
    found = bonded_mol(structure)
    if isinstance(found, Failure):
        return found
    mol = as_mapped(found)
    return graph_of(mol), eem_charges(mol)


def mapped_graph(
    smiles: str, numbers: NDArray[np.int64], positions: NDArray[np.float64]
) -> tuple[MolecularGraph, NDArray[np.float64]] | None:
    """Graph and charges of a molecule of a data set; None where SMILES and coordinates do not fit together."""
    mol = mapped_mol(smiles, numbers, positions)
    if mol is None:
        return None
    charges = eem_charges(mol)
    return None if isinstance(charges, Failure) else (graph_of(mol), charges)
