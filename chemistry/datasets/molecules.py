"""A set of molecules as flat arrays, held in memory or mapped from disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets.text_column import TextColumn
from chemistry.errors import DatasetError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, eq=False)
class MoleculeRecord:
    """One molecule: numbers uint8 [n], positions [n, 3] in Angstrom (float32 when read from a data set)."""

    numbers: NDArray[np.uint8]
    positions: NDArray[np.floating]
    properties: Mapping[str, float]
    smiles: str
    name: str


@dataclass(frozen=True, eq=False)
class MoleculeDataset(Sequence[MoleculeRecord]):
    """Molecules laid end to end; molecule i owns atoms offsets[i] to offsets[i + 1].

    numbers uint8 [atoms], positions float32 [atoms, 3] in Angstrom with each molecule's mean at the origin,
    offsets int64 [n + 1], properties float64 [n] each, in the unit that `units` names.
    Arrays mapped from disk are read-only. Raises DatasetError when the arrays do not fit together.
    """

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float32]
    offsets: NDArray[np.int64]
    smiles: TextColumn
    names: TextColumn
    properties: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    title: str = ""

    def __post_init__(self) -> None:
        n_atoms = int(self.offsets[-1]) if len(self.offsets) else -1
        if self.numbers.shape != (n_atoms,) or self.positions.shape != (n_atoms, 3):
            raise DatasetError(
                f"data set {self.title!r}: offsets end at {n_atoms} atoms, but numbers has shape "
                f"{self.numbers.shape} and positions {self.positions.shape}; make the files again"
            )
        columns: dict[str, Sequence[object] | NDArray[np.float64]] = {
            "smiles": self.smiles,
            "names": self.names,
            **self.properties,
        }
        for name, column in columns.items():
            if len(column) != len(self):
                raise DatasetError(
                    f"data set {self.title!r}: column {name!r} has {len(column)} rows, wanted {len(self)}"
                )
        if self.properties.keys() != self.units.keys():
            raise DatasetError(f"data set {self.title!r}: properties and units name different things")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> MoleculeRecord:  # type: ignore[override]
        """Molecule `index`; negative indices count from the end. Raises IndexError."""
        index = range(len(self))[index]
        atoms = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return MoleculeRecord(
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            properties={name: float(values[index]) for name, values in self.properties.items()},
            smiles=self.smiles[index],
            name=self.names[index],
        )

    def __iter__(self) -> Iterator[MoleculeRecord]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms per molecule, int64 [n]."""
        return np.diff(self.offsets)

    def size_histogram(self) -> dict[int, int]:
        """How many molecules have each number of atoms, smallest first."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        return dict(zip(sizes.tolist(), counts.tolist(), strict=True))

    def element_counts(self) -> dict[int, int]:
        """How many atoms of each atomic number, lightest first."""
        counts = np.bincount(self.numbers, minlength=1)
        return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, lightest first."""
        return tuple(self.element_counts())

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every array and its name: equal exactly when the data are equal."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
            digest.update(little_endian.data)
        return digest.hexdigest()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every array by the name under which it is stored."""
        return {
            "numbers": self.numbers,
            "positions": self.positions,
            "offsets": self.offsets,
            "smiles": self.smiles.buffer,
            "smiles_offsets": self.smiles.offsets,
            "names": self.names.buffer,
            "names_offsets": self.names.offsets,
            **{f"property_{name}": values for name, values in self.properties.items()},
        }

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> MoleculeDataset:
        """A copy in memory of the molecules at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        offsets = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(self.sizes[chosen], out=offsets[1:])
        # Atom j of the subset is atom j of its molecule, shifted to where that molecule starts here.
        shift = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], self.sizes[chosen])
        atoms = np.arange(offsets[-1], dtype=np.int64) + shift
        return MoleculeDataset(
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            offsets=offsets,
            smiles=TextColumn.of(self.smiles[int(i)] for i in chosen),
            names=TextColumn.of(self.names[int(i)] for i in chosen),
            properties={name: np.asarray(values)[chosen] for name, values in self.properties.items()},
            units=self.units,
            title=self.title,
        )

    @classmethod
    def of(
        cls,
        molecules: Sequence[MoleculeRecord],
        units: Mapping[str, str] | None = None,
        title: str = "",
    ) -> MoleculeDataset:
        """Lay `molecules` end to end and move each one's mean to the origin (computed in float64)."""
        units = dict(units or {})
        sizes = [len(molecule.numbers) for molecule in molecules]
        offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(sizes, out=offsets[1:])
        positions = np.zeros((int(offsets[-1]), 3), dtype=np.float32)
        numbers = np.zeros(int(offsets[-1]), dtype=np.uint8)
        for molecule, start, end in zip(molecules, offsets[:-1], offsets[1:], strict=True):
            exact = np.asarray(molecule.positions, dtype=np.float64)
            positions[start:end] = exact - exact.mean(axis=0)
            numbers[start:end] = molecule.numbers
        return cls(
            numbers=numbers,
            positions=positions,
            offsets=offsets,
            smiles=TextColumn.of(molecule.smiles for molecule in molecules),
            names=TextColumn.of(molecule.name for molecule in molecules),
            properties={
                name: np.array([m.properties[name] for m in molecules], np.float64) for name in units
            },
            units=units,
            title=title,
        )
