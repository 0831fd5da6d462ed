"""RDKit's verdict on a molecule, quietly and as data."""

from __future__ import annotations

from rdkit import Chem, rdBase

from chemistry.reasons import Reason


def sanitize(mol: Chem.Mol) -> Reason | None:
    """Sanitize `mol` in place; the reason when RDKit refuses, with the atoms that it names."""
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(mol)
        except (ValueError, RuntimeError) as error:
            message = str(error).strip().partition("\n")[0]
            return Reason("sanitization", f"RDKit: {message}", _atoms_concerned(mol))
    return None


def _atoms_concerned(mol: Chem.Mol) -> tuple[int, ...]:
    try:
        problems = Chem.DetectChemistryProblems(mol)
    except RuntimeError:  # dozens of bonds at one atom overflow RDKit's valence
        return ()
    return tuple(sorted({atom for problem in problems for atom in _atoms(problem)}))


def _atoms(problem: object) -> tuple[int, ...]:
    if hasattr(problem, "GetAtomIndices"):
        return tuple(problem.GetAtomIndices())
    if hasattr(problem, "GetAtomIdx"):
        return (problem.GetAtomIdx(),)
    return ()
