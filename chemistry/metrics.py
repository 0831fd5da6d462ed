"""Stability, validity, uniqueness, novelty and connectedness of a set of molecules, exactly as published.

Bonds come from the distance table. A molecule is valid when RDKit sanitizes it with every hydrogen explicit;
its SMILES is that of its largest fragment, explicit hydrogens and all, without stereo.
Reference: Hoogeboom et al., Equivariant Diffusion for Molecule Generation in 3D (2022),
https://arxiv.org/abs/2203.17003
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import rdkit
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from chemistry.bonds.distance import DistanceBonds, distance_bonds
from chemistry.bootstrap import Interval, ratio_interval

TableRule = Literal["qm9", "geom"]
"""For drug-sized molecules ("geom") validity is published with every bond read as single."""

_ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


class HasAtoms(Protocol):
    """Anything with atomic numbers [n] and positions [n, 3] in Angstrom."""

    @property
    def numbers(self) -> NDArray[Any]: ...
    @property
    def positions(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Metrics:
    """Fractions with bootstrap intervals, and what they depend on."""

    n_molecules: int
    values: Mapping[str, Interval]
    bond_rule: str
    rdkit_version: str
    resamples: int
    level: float

    def summary(self) -> dict[str, Any]:
        """The same as plain dictionaries, for JSON."""
        return asdict(self)


def stability_and_validity(
    structures: Iterable[HasAtoms],
    *,
    reference_smiles: Collection[str] | None = None,
    rule: TableRule = "qm9",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Metrics:
    """Judge `structures`; `reference_smiles` (see `training_smiles`) adds novelty.

    atom_stable is of all atoms; molecule_stable, valid, connected and valid_and_unique of all molecules;
    unique of the valid ones; novel of the unique ones. For the intervals of uniqueness and novelty the marks
    "first of its kind" are resampled, not the molecules, whose copies would pass for duplicates.
    `progress` is called once for each molecule.
    """
    rows: list[tuple[int, int, bool, bool, bool, bool]] = []
    seen: set[str] = set()
    with rdBase.BlockLogs():
        for structure in structures:
            bonds = distance_bonds(structure.numbers, structure.positions)
            smiles, n_fragments = _judge(structure.numbers, bonds, rule)
            first = smiles is not None and smiles not in seen
            novel = first and reference_smiles is not None and smiles not in reference_smiles
            if smiles is not None:
                seen.add(smiles)
            stable = int(bonds.stable.sum())
            rows.append((len(bonds.stable), stable, smiles is not None, n_fragments == 1, first, novel))
            progress()
    columns = np.array(rows, dtype=np.float64).reshape(-1, 6).T
    n_atoms, stable_atoms, valid, connected, first_seen, is_novel = columns
    every = np.ones(len(rows))
    fractions = {
        "atom_stable": (stable_atoms, n_atoms),
        "molecule_stable": (stable_atoms == n_atoms, every),
        "valid": (valid, every),
        "unique": (first_seen, valid),
        "valid_and_unique": (first_seen, every),
        "connected": (connected, every),
    }
    if reference_smiles is not None:
        fractions["novel"] = (is_novel, first_seen)
    values = {
        name: ratio_interval(above, below, resamples=resamples, level=level, seed=seed)
        for name, (above, below) in fractions.items()
    }
    return Metrics(len(rows), values, f"{rule} distance table", rdkit.__version__, resamples, level)


def published_smiles(structure: HasAtoms, rule: TableRule = "qm9") -> str | None:
    """SMILES of the whole molecule as published, an entry of novelty's reference; None when not valid."""
    mol = _published_mol(structure.numbers, distance_bonds(structure.numbers, structure.positions), rule)
    with rdBase.BlockLogs():
        return _smiles(mol)


def _judge(numbers: NDArray[Any], bonds: DistanceBonds, rule: TableRule) -> tuple[str | None, int]:
    """SMILES of the largest fragment (None: not valid) and the number of fragments."""
    mol = _published_mol(numbers, bonds, rule)
    if _smiles(mol) is None:
        return None, len(Chem.GetMolFrags(mol))
    fragments = Chem.GetMolFrags(mol, asMols=True)
    return _smiles(max(fragments, key=lambda fragment: fragment.GetNumAtoms())), len(fragments)


def _published_mol(numbers: NDArray[Any], bonds: DistanceBonds, rule: TableRule) -> Chem.RWMol:
    # Unlike to_mol, atoms may take implicit hydrogens here: so it is published.
    mol = Chem.RWMol()
    for number in numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    for begin, end, order in zip(bonds.begin.tolist(), bonds.end.tolist(), bonds.order.tolist(), strict=True):
        mol.AddBond(begin, end, _ORDERS[order] if rule == "qm9" else Chem.BondType.SINGLE)
    return mol


def _smiles(mol: Chem.Mol) -> str | None:
    try:
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):  # RuntimeError: dozens of bonds at one atom overflow RDKit's valence
        return None
    return str(Chem.MolToSmiles(mol))
