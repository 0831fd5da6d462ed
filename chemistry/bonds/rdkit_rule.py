"""Bonds by RDKit's DetermineBonds, which knows charges and resonance but may never return.

Always through a `Guard`: its time grows exponentially with atoms of several valences (rdkit issues 7922,
8006, 9227), it cannot be interrupted, and it can exhaust memory (5902).
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from chemistry.guard import Guard
from chemistry.mol import bonds_of, to_mol
from chemistry.reasons import Failure
from chemistry.structure import Bond, Structure

MAX_COMBINATIONS = 100_000
"""Combinations of valences tried, a few seconds' worth: unlike the clock, the same on every machine."""


class ChargedBonds(NamedTuple):
    """Bonds with integer orders and one formal charge per atom."""

    bonds: tuple[Bond, ...]
    atom_charges: tuple[int, ...]


@cache
def default_guard() -> Guard:
    """One child per process for bond perception, started when first used."""
    guard = Guard(max_workers=1, timeout_seconds=10.0)
    atexit.register(guard.close)
    return guard


def rdkit_bonds(structure: Structure, guard: Guard | None = None) -> ChargedBonds | Failure:
    """Bonds for the structure's total charge, or why not (sanitization, timeout, memory, crash)."""
    return (guard or default_guard()).call(_determine, structure)


def _determine(structure: Structure) -> ChargedBonds | Failure:
    """Runs in the guard's child."""
    mol = to_mol(structure, bonds=())
    try:
        with rdBase.BlockLogs():
            rdDetermineBonds.DetermineBonds(
                mol, charge=structure.charge, embedChiral=False, maxIterations=MAX_COMBINATIONS
            )
            Chem.Kekulize(mol, clearAromaticFlags=True)
    except (ValueError, RuntimeError) as error:
        if "Max Iterations" in str(error):
            message = f"RDKit tried {MAX_COMBINATIONS} combinations of valences and found no bonds"
            return Failure.because("timeout", message)
        return Failure.because("sanitization", f"RDKit finds no bonds: {_first_line(error)}")
    return ChargedBonds(bonds_of(mol), tuple(atom.GetFormalCharge() for atom in mol.GetAtoms()))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
