"""SMILES without coordinates: the verdict on a string, its canonical form, formula, InChIKey and drawing."""

from __future__ import annotations

from dataclasses import dataclass

from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from chemistry.reasons import Failure

MOST_CHARACTERS = 4096


@dataclass(frozen=True)
class SmilesReport:
    """A SMILES that RDKit accepts. `smiles` is canonical with stereo; n_atoms counts heavy atoms."""

    smiles: str
    inchikey: str
    formula: str
    n_atoms: int
    n_fragments: int


def parse_smiles(text: str) -> Chem.Mol | Failure:
    """A sanitized molecule without coordinates, or why there is none."""
    if len(text) > MOST_CHARACTERS:
        return Failure.because("too-large", f"{len(text)} characters; the limit is {MOST_CHARACTERS}")
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text, sanitize=False)
        if mol is None:
            return Failure.because("bad-record", f"{text[:80]!r} is not a SMILES")
        try:
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistry(mol, cleanIt=True)
        except (ValueError, RuntimeError) as error:
            message = str(error).strip().partition("\n")[0]
            return Failure.because("sanitization", f"RDKit: {message}")
    if mol.GetNumAtoms() == 0:
        return Failure.because("bad-record", "a molecule of no atoms")
    return mol


def canonical_smiles(text: str) -> str | None:
    """RDKit's canonical form; None for a string that it refuses."""
    mol = parse_smiles(text)
    return None if isinstance(mol, Failure) else str(Chem.MolToSmiles(mol))


def flat_smiles(text: str) -> str | None:
    """The canonical form without stereo and isotopes, whose hydrogens are counted anew; None for a string that RDKit
    refuses.
    """
    mol = parse_smiles(text)
    if isinstance(mol, Failure):
        return None
    Chem.RemoveStereochemistry(mol)
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    return canonical_smiles(Chem.MolToSmiles(mol))


def judge_smiles(text: str) -> SmilesReport | Failure:
    """Everything that can be said of a SMILES without coordinates."""
    mol = parse_smiles(text)
    if isinstance(mol, Failure):
        return mol
    with rdBase.BlockLogs():
        return SmilesReport(
            smiles=str(Chem.MolToSmiles(mol)),
            inchikey=str(Chem.MolToInchiKey(mol)),  # type: ignore[no-untyped-call]
            formula=str(rdMolDescriptors.CalcMolFormula(mol)),
            n_atoms=mol.GetNumAtoms(),
            n_fragments=len(Chem.GetMolFrags(mol)),
        )
