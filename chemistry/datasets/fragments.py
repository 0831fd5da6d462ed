"""Molecules unlike QM9's: drug-like ones of MOSES, and pieces of them that are as small as QM9's."""

from __future__ import annotations

from rdkit import Chem, rdBase
from rdkit.Chem import BRICS

from chemistry.datasets.moses import moses_smiles

MOST_HEAVY_ATOMS = 9
_QM9 = frozenset({1, 6, 7, 8, 9})


def drug_like(count: int, half: int = 0) -> list[str]:
    """SMILES evenly spread over the test split of MOSES; those of half 1 lie between those of half 0.

    Raises DatasetError when molsets is missing.
    """
    found = moses_smiles("test")
    step = max(len(found) // count, 2)
    return found[half * (step // 2) :: step][:count]


def fragments(count: int, half: int = 0) -> list[str]:
    """Different BRICS fragments of drug-like molecules with 5 to 9 heavy atoms, all of C, N, O, F: what makes them
    unlike QM9's molecules is neither their size nor their elements. Those of half 1 are none of half 0.
    """
    out: dict[str, None] = {}
    with rdBase.BlockLogs():
        for smiles in drug_like(10 * count):
            for mol in BRICS.BRICSDecompose(Chem.MolFromSmiles(smiles), returnMols=True, singlePass=True):  # type: ignore[no-untyped-call]
                for atom in mol.GetAtoms():
                    if atom.GetAtomicNum() == 0:
                        atom.SetAtomicNum(1)
                        atom.SetIsotope(0)
                plain = Chem.RemoveHs(mol)
                elements = {atom.GetAtomicNum() for atom in plain.GetAtoms()}
                if 5 <= plain.GetNumHeavyAtoms() <= MOST_HEAVY_ATOMS and elements <= _QM9:
                    out[Chem.MolToSmiles(plain)] = None
            if len(out) >= (half + 1) * count:
                break
    return list(out)[half * count :][:count]
