"""The verdict on one generated molecule: bonds, validity, stability, connectedness, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from chemistry.bonds.distance import DistanceBonds, distance_bonds, distances
from chemistry.bonds.rdkit_rule import rdkit_bonds
from chemistry.bonds.table import VALENCES
from chemistry.elements import SYMBOLS
from chemistry.errors import ChemistryError
from chemistry.formats.sdf import record_text
from chemistry.guard import Guard
from chemistry.mol import bonds_of, refused_mol, to_mol
from chemistry.reasons import Failure, Reason
from chemistry.sanitize import sanitize
from chemistry.structure import Bond, Structure

BondRule = Literal["distance", "rdkit", "given"]
BOND_RULES: tuple[BondRule, ...] = get_args(BondRule)

CLASH_FRACTION = 0.65
"""Two atoms clash when they are closer than this fraction of the sum of their covalent radii."""

_RADII = np.array([0.0, *(Chem.GetPeriodicTable().GetRcovalent(number) for number in range(1, 119))])

_NAMED_ATOMS = 6  # atoms spelled out in a message; all of them are in `atoms`


@dataclass(frozen=True, eq=False)
class Report:
    """What `check` found. `reasons` is empty exactly when all of valid, connected and molecule_stable hold
    and no atoms clash; a molecule can be valid and still have reasons.

    `smiles` (canonical, stereo from 3D, hydrogens implied) and `inchikey` are of the largest fragment, and
    None for a molecule that is not valid. `bonds` are empty when there are more rings than any molecule has;
    `mol_block` is an SDF record of the same bonds.
    """

    valid: bool
    connected: bool
    molecule_stable: bool
    stable_atoms: int
    n_atoms: int
    reasons: tuple[Reason, ...]
    smiles: str | None
    inchikey: str | None
    formula: str
    bonds: tuple[Bond, ...]
    bond_rule: BondRule
    structure: Structure = field(repr=False)
    mol: Chem.Mol = field(repr=False)

    @cached_property
    def mol_block(self) -> str:
        """SDF record: perceived bonds, and as data items the verdict and its reasons."""
        items = {
            "valid": str(self.valid).lower(),
            "connected": str(self.connected).lower(),
            "molecule_stable": str(self.molecule_stable).lower(),
            "bond_rule": self.bond_rule,
            "smiles": self.smiles or "",
            "reasons": "; ".join(f"{reason.code}: {reason.message}" for reason in self.reasons),
        }
        stated = {name: value for name, value in items.items() if value}
        properties = {**self.structure.properties, **stated}
        return record_text(self.mol, replace(self.structure, properties=properties))

    def svg(self, width: int = 240, height: int = 180) -> str:
        """A 2D drawing with the atoms of the reasons marked."""
        from chemistry.draw import draw_svg

        return draw_svg(self, width, height)


def check(structure: Structure, *, bond_rule: BondRule = "distance", guard: Guard | None = None) -> Report:
    """Perceive bonds and judge the molecule; a bad molecule is a Report with reasons, not an exception.

    Stability is always by the published table. Validity by "distance" is the published one: RDKit sanitizes
    the table's bonds. By "rdkit" it is that DetermineBonds finds bonds for the total charge inside `guard`
    (the process's own by default) and RDKit sanitizes them. By "given" RDKit sanitizes the bonds that the
    structure carries. Raises ChemistryError for another rule, or where none are given.
    """
    table = distance_bonds(structure.numbers, structure.positions)
    bonds, charges, failure = table.bonds, None, None
    if bond_rule == "rdkit":
        found = rdkit_bonds(structure, guard)
        if isinstance(found, Failure):
            failure = found.reasons[0]
        else:
            bonds, charges = found.bonds, found.atom_charges
    elif bond_rule == "given":
        if structure.bonds is None:
            raise ChemistryError('bond rule "given" needs bonds; choose "distance" or "rdkit"')
        bonds, charges = structure.bonds, structure.atom_charges
    elif bond_rule != "distance":
        raise ChemistryError(f"no bond rule {bond_rule!r}; choose one of {', '.join(BOND_RULES)}")
    fragments = _fragments(structure.n_atoms, bonds)
    mol = to_mol(structure, bonds, charges)
    refused = failure or sanitize(mol)
    reasons = [*_clashes(structure), *_valences(structure, table), *_loose_parts(structure, fragments)]
    smiles = inchikey = None
    if refused:
        reasons.insert(0, refused)
        mol = refused_mol(structure, bonds, charges)
    else:
        smiles, inchikey = _names(mol)
        Chem.Kekulize(mol, clearAromaticFlags=True)
    return Report(
        valid=refused is None,
        connected=not bool(fragments.any()),
        molecule_stable=bool(table.stable.all()),
        stable_atoms=int(table.stable.sum()),
        n_atoms=structure.n_atoms,
        reasons=tuple(reasons),
        smiles=smiles,
        inchikey=inchikey,
        formula=structure.formula,
        bonds=bonds_of(mol),
        bond_rule=bond_rule,
        structure=structure,
        mol=mol,
    )


def _fragments(n_atoms: int, bonds: tuple[Bond, ...]) -> NDArray[np.int32]:
    """Number of the fragment of each atom, int32 [n]."""
    begin = [bond.begin for bond in bonds]
    end = [bond.end for bond in bonds]
    graph = coo_array((np.ones(len(bonds)), (begin, end)), shape=(n_atoms, n_atoms))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def _valences(structure: Structure, table: DistanceBonds) -> list[Reason]:
    """One reason for all atoms without a published valence, one for all whose bonds do not add up."""
    if table.stable.all():
        return []
    orders = np.zeros(structure.n_atoms, dtype=np.int64)
    np.add.at(orders, table.begin, table.order)
    np.add.at(orders, table.end, table.order)
    unstable = np.flatnonzero(~table.stable).tolist()
    unknown = tuple(atom for atom in unstable if int(structure.numbers[atom]) not in VALENCES)
    wrong = tuple(atom for atom in unstable if atom not in unknown)
    reasons = []
    if unknown:
        symbols = sorted({SYMBOLS[int(structure.numbers[atom])] for atom in unknown})
        message = f"no valence is published for {', '.join(symbols)}"
        reasons.append(Reason("unknown-element", message, unknown))
    if wrong:
        stated = [
            f"{structure.label(atom)} has bond orders adding up to {orders[atom]}, wanted "
            + " or ".join(map(str, sorted(VALENCES[int(structure.numbers[atom])])))
            for atom in wrong[:_NAMED_ATOMS]
        ]
        reasons.append(Reason("valence", _listed(stated, len(wrong)), wrong))
    return reasons


def _loose_parts(structure: Structure, fragments: NDArray[np.int32]) -> list[Reason]:
    sizes = np.bincount(fragments)
    if len(sizes) == 1:
        return []
    loose = tuple(np.flatnonzero(fragments != sizes.argmax()).tolist())
    named = _listed([structure.label(atom) for atom in loose[:_NAMED_ATOMS]], len(loose))
    return [Reason("disconnected", f"{len(sizes)} fragments; apart from the largest: {named}", loose)]


def _clashes(structure: Structure) -> list[Reason]:
    radii = _RADII[structure.numbers]
    close = distances(structure.positions) < CLASH_FRACTION * (radii[:, None] + radii[None, :])
    first, second = np.nonzero(np.triu(close, k=1))
    if not len(first):
        return []
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    stated = [
        f"{structure.label(i)} and {structure.label(j)} are "
        f"{np.linalg.norm(structure.positions[i] - structure.positions[j]):.2f} Angstrom apart"
        for i, j in pairs[:_NAMED_ATOMS]
    ]
    atoms = tuple(sorted({atom for pair in pairs for atom in pair}))
    return [Reason("clash", _listed(stated, len(pairs)), atoms)]


def _listed(stated: list[str], total: int) -> str:
    more = f" and {total - len(stated)} more" if total > len(stated) else ""
    return ", ".join(stated) + more


def _names(mol: Chem.Mol) -> tuple[str, str]:
    """Canonical SMILES and InChIKey of the largest fragment, by number of atoms."""
    with rdBase.BlockLogs():
        largest = max(Chem.GetMolFrags(mol, asMols=True), key=lambda fragment: fragment.GetNumAtoms())
        Chem.AssignStereochemistryFrom3D(largest)
        try:
            plain = Chem.RemoveHs(largest)
        except (ValueError, RuntimeError):  # a hydrogen that holds the molecule together stays explicit
            plain = largest
        return Chem.MolToSmiles(plain), str(Chem.MolToInchiKey(plain))  # type: ignore[no-untyped-call]
