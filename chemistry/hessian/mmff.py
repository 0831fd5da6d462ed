"""MMFF94 energies and gradients from RDKit."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers

from chemistry.check import check
from chemistry.hessian.forces import Forces, Vector
from chemistry.reasons import Failure
from chemistry.structure import Structure


def mmff_forces(structure: Structure) -> Forces | Failure:
    """The force field of a molecule with all its hydrogens, or why there is none.

    Bonds are those that the structure carries; where it has none they are perceived.
    """
    mol = bonded_mol(structure)
    if isinstance(mol, Failure):
        return mol
    radicals = _radicals(mol)
    if radicals:
        message = "MMFF94 knows no radicals; is a hydrogen missing? Method xtb takes them"
        return Failure.because("no-parameters", message, atoms=radicals, title=structure.title)
    with rdBase.BlockLogs():
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
        field = None if properties is None else rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    if field is None:
        symbols = ", ".join(sorted(set(structure.symbols)))
        message = (
            f"MMFF94 has no parameters for an atom or a bond of this molecule ({symbols}); try method xtb"
        )
        return Failure.because("no-parameters", message, title=structure.title)

    def function(positions: Vector) -> tuple[float, Vector]:
        flat = positions.ravel().tolist()
        # CalcGrad takes its distances from a cache that only CalcEnergy renews: without the energy first, the
        # gradient's angle terms belong to the last positions, and the Hessian is not even symmetric.
        energy = float(field.CalcEnergy(flat))
        return energy, np.array(field.CalcGrad(flat)).reshape(positions.shape)

    return Forces("MMFF94", function, step=2e-3)


def bonded_mol(structure: Structure) -> Chem.Mol | Failure:
    """A sanitized molecule: with the bonds given, else by distances, else by RDKit's rule.

    The latter for charged molecules, and for those where distances leave an atom with a free valence: in aromatic
    rings many bonds are too long for the table's double bonds.
    """
    if structure.bonds is not None:
        report = check(structure, bond_rule="given")
    else:
        report = check(structure, bond_rule="rdkit" if structure.charge else "distance")
        if not structure.charge and (not report.valid or _radicals(report.mol)):
            other = check(structure, bond_rule="rdkit")
            if not report.valid or (other.valid and not _radicals(other.mol)):
                report = other
    if report.valid:
        return report.mol
    return Failure(report.reasons, structure.title)


def _radicals(mol: Chem.Mol) -> tuple[int, ...]:
    return tuple(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetNumRadicalElectrons())
