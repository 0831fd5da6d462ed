"""From one record to its descriptors; SMILES need no coordinates for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from chemistry.check import check
from chemistry.descriptors.fingerprints import count_fingerprint
from chemistry.descriptors.table import descriptor_row
from chemistry.reasons import Failure
from chemistry.structure import Structure

MOST_ATOMS = 500
"""Heavy atoms; the complexity index of larger molecules takes minutes."""


@dataclass(frozen=True, eq=False)
class Described:
    """A molecule's names and its descriptors: row float64 [17], counts float64 [128]."""

    title: str
    smiles: str
    formula: str
    n_atoms: int
    row: NDArray[np.float64]
    counts: NDArray[np.float64]


def describe(given: str | Structure, title: str = "") -> Described | Failure:
    """Descriptors of a SMILES, or of a structure by its own bonds, else by the bonds that its distances make.

    Of a structure in several pieces, as of a salt, the largest is described, as everywhere in the service.
    """
    if isinstance(given, Structure):
        title = given.title
        report = check(given, bond_rule="distance" if given.bonds is None else "given")
        if report.smiles is None:
            return Failure(report.reasons, title)
        smiles = report.smiles
    else:
        smiles = given
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return Failure.because("bad-record", f"{smiles[:80]!r} is not a valid SMILES", title=title)
        return described_mol(mol, title)


def described_mol(mol: Chem.Mol, title: str = "") -> Described | Failure:
    """Descriptors of a sanitized molecule with implied hydrogens."""
    parts = Chem.GetMolFrags(mol, asMols=True)
    if not parts:
        return Failure.because("bad-record", "a molecule of no atoms", title=title)
    mol = max(parts, key=lambda part: part.GetNumAtoms())
    if mol.GetNumHeavyAtoms() > MOST_ATOMS:
        message = f"{mol.GetNumHeavyAtoms()} heavy atoms; descriptors go up to {MOST_ATOMS}"
        return Failure.because("too-large", message, title=title)
    dummies = tuple(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0)
    if dummies:
        return Failure.because("unknown-element", "a dummy atom", atoms=dummies, title=title)
    with rdBase.BlockLogs():
        smiles = str(Chem.MolToSmiles(mol))
        row = descriptor_row(mol)
    if not np.isfinite(row).all():
        return Failure.because("no-parameters", "a descriptor is not a finite number", title=title)
    full = Chem.AddHs(mol)
    return Described(title, smiles, CalcMolFormula(mol), full.GetNumAtoms(), row, count_fingerprint(mol))
