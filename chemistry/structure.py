"""The one exchange type for a 3D molecule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemistry.elements import MAX_NUMBER, SYMBOLS, symbol_of
from chemistry.errors import BadStructureError, UnknownElementError

MAX_COORDINATE = 1e5
"""Angstrom; no molecule is larger, and the file formats cannot hold more."""


BOND_ORDERS = (1.0, 1.5, 2.0, 3.0, 4.0)
"""1.5 is aromatic."""


class Bond(NamedTuple):
    """A bond between atoms `begin` and `end` (zero-based); order one of BOND_ORDERS."""

    begin: int
    end: int
    order: float


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms in space: atomic numbers int64 [n], positions float64 [n, 3] in Angstrom, total charge.

    `bonds` and `atom_charges` are None unless a file stated them; `properties` are a file's named values.
    Raises BadStructureError on a wrong shape or a number that is not finite, UnknownElementError on a number
    that is no element.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int = 0
    title: str = ""
    bonds: tuple[Bond, ...] | None = None
    atom_charges: tuple[int, ...] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", _frozen(self.numbers, np.int64, "numbers"))
        object.__setattr__(self, "positions", _frozen(self.positions, np.float64, "positions"))
        n = len(self.numbers) if self.numbers.ndim == 1 else 0
        if n == 0:
            raise BadStructureError(
                f"numbers has shape {self.numbers.shape}; wanted [n] with at least one atom"
            )
        if self.positions.shape != (n, 3):
            raise BadStructureError(
                f"positions has shape {self.positions.shape}; wanted [{n}, 3] for {n} atoms"
            )
        if (unknown := (self.numbers < 1) | (self.numbers > MAX_NUMBER)).any():
            atom = int(np.argmax(unknown))
            raise UnknownElementError(
                f"atom {atom} has atomic number {self.numbers[atom]}; wanted 1 to {MAX_NUMBER}"
            )
        if (bad := ~(np.abs(self.positions) < MAX_COORDINATE).all(axis=1)).any():
            atom = int(np.argmax(bad))
            raise BadStructureError(
                f"atom {atom} is at {self.positions[atom].tolist()}; wanted finite coordinates "
                f"within {MAX_COORDINATE:g} Angstrom"
            )
        if self.atom_charges is not None and len(self.atom_charges) != n:
            raise BadStructureError(f"atom_charges has {len(self.atom_charges)} entries; wanted {n}")
        for bond in self.bonds or ():
            if not (0 <= bond.begin < n and 0 <= bond.end < n and bond.begin != bond.end):
                raise BadStructureError(f"bond {tuple(bond)} does not join two of the {n} atoms")
            if bond.order not in BOND_ORDERS:
                raise BadStructureError(
                    f"bond {tuple(bond)} has no order of {', '.join(map(str, BOND_ORDERS))}"
                )

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def symbols(self) -> list[str]:
        return [SYMBOLS[number] for number in self.numbers]

    @property
    def formula(self) -> str:
        """Hill formula: carbon, hydrogen, then the others by letter; without carbon all by letter."""
        counts = Counter(self.symbols)
        first = ["C", "H"] if "C" in counts else []
        order = [symbol for symbol in first if symbol in counts] + sorted(counts.keys() - set(first))
        text = "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order)
        if self.charge:
            size = str(abs(self.charge)) if abs(self.charge) > 1 else ""
            text += ("+" if self.charge > 0 else "-") + size
        return text

    def label(self, atom: int) -> str:
        """Name of an atom for messages, such as C3 (counted from zero)."""
        return f"{symbol_of(int(self.numbers[atom]))}{atom}"


def _frozen(values: ArrayLike, dtype: type[np.generic], name: str) -> NDArray[Any]:
    """A read-only copy of `values`, so that a structure cannot change under its owner."""
    try:
        given = np.asarray(values)
        if np.issubdtype(dtype, np.integer) and not np.issubdtype(given.dtype, np.integer) and given.size:
            raise TypeError(f"got {given.dtype}")
        array = given.astype(dtype, copy=True)
    except (TypeError, ValueError, OverflowError) as error:
        kind = "whole numbers" if np.issubdtype(dtype, np.integer) else "numbers"
        raise BadStructureError(f"{name} must be an array of {kind}: {error}") from error
    array.setflags(write=False)
    return array
