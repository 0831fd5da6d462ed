"""Masses of atoms: those of the commonest isotopes, or of others by element or by atom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from chemistry.elements import SYMBOLS
from chemistry.errors import BadStructureError


def isotope_masses(
    numbers: NDArray[np.int64], isotopes: Mapping[str, int] | None = None
) -> NDArray[np.float64]:
    """Masses in u, `[n]`. A key of `isotopes` is a symbol (all its atoms) or a zero-based index, which wins.

    Raises BadStructureError for an isotope that is not known, an element that is not there, an index too large.

    >>> isotope_masses(np.array([8, 1, 1]), {"H": 2, "1": 1}).round(3).tolist()
    [15.995, 1.008, 2.014]
    """
    table = Chem.GetPeriodicTable()
    masses = np.array([table.GetMostCommonIsotopeMass(int(number)) for number in numbers])
    for key, mass_number in sorted((isotopes or {}).items(), key=lambda pair: pair[0].isdigit()):
        for atom in _atoms(numbers, key):
            number = int(numbers[atom])
            mass = table.GetMassForIsotope(number, mass_number)
            if mass <= 0:
                raise BadStructureError(
                    f"isotopes asks for {mass_number}{SYMBOLS[number]} (atom {atom}), whose mass is not known"
                )
            masses[atom] = mass
    return masses


def _atoms(numbers: NDArray[np.int64], key: str) -> list[int]:
    if key.isdigit():
        if int(key) >= len(numbers):
            raise BadStructureError(
                f"isotopes names atom {key}; the molecule's atoms are 0 to {len(numbers) - 1}, hydrogens included"
            )
        return [int(key)]
    if key not in SYMBOLS:
        raise BadStructureError(f"isotopes names {key!r}; wanted a symbol such as 'H' or an atom's index")
    found = np.flatnonzero(numbers == SYMBOLS.index(key)).tolist()
    if not found:
        raise BadStructureError(f"isotopes names {key}; the molecule has no such atom")
    return found
