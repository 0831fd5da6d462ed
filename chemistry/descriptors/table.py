"""The descriptors of a row: six continuous ones, nine counts, two categories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, GraphDescriptors, Lipinski, rdMolDescriptors

Kind = Literal["continuous", "count", "category"]

_HALOGENS = frozenset({9, 17, 35, 53, 85})
RING_SYSTEMS = ("none", "aliphatic", "aromatic", "both")
CHARGES = ("neutral", "zwitterion", "cation", "anion")


@dataclass(frozen=True)
class Descriptor:
    """One column. `resolution` is the step below which two values of a continuous one count as the same.

    `function` takes a sanitized molecule with implied hydrogens; of a category it gives the index in `categories`.
    """

    name: str
    kind: Kind
    function: Callable[[Chem.Mol], float]
    meaning: str
    unit: str = ""
    resolution: float = 1.0
    categories: tuple[str, ...] = ()


def ring_system(mol: Chem.Mol) -> int:
    """0 no ring, 1 aliphatic rings only, 2 aromatic rings only, 3 both."""
    aromatic = rdMolDescriptors.CalcNumAromaticRings(mol) > 0
    aliphatic = rdMolDescriptors.CalcNumAliphaticRings(mol) > 0
    return 2 * aromatic + aliphatic


def charge_state(mol: Chem.Mol) -> int:
    """0 neutral; 1 zwitterion, with charged atoms that are not drawn so (as in nitro groups); 2, 3 charged."""
    total = Chem.GetFormalCharge(mol)
    if total:
        return 2 if total > 0 else 3
    charged = {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetFormalCharge()}
    apart = any(
        not any(neighbor.GetIdx() in charged for neighbor in mol.GetAtomWithIdx(index).GetNeighbors())
        for index in charged
    )
    return 1 if apart else 0


def _halogens(mol: Chem.Mol) -> int:
    return sum(atom.GetAtomicNum() in _HALOGENS for atom in mol.GetAtoms())


def _aliphatic(mol: Chem.Mol) -> float:
    return float(rdMolDescriptors.CalcFractionCSP3(mol))


DESCRIPTORS: tuple[Descriptor, ...] = (
    Descriptor("weight", "continuous", Descriptors.MolWt, "molecular weight", "g/mol", 1.0),  # type: ignore[attr-defined]
    Descriptor("logp", "continuous", Crippen.MolLogP, "octanol-water partition (Crippen)", "", 0.05),  # type: ignore[attr-defined]
    Descriptor(
        "tpsa", "continuous", rdMolDescriptors.CalcTPSA, "topological polar surface area", "Angstrom^2", 1.0
    ),
    Descriptor("refractivity", "continuous", Crippen.MolMR, "molar refractivity (Crippen)", "cm^3/mol", 0.2),  # type: ignore[attr-defined]
    Descriptor("complexity", "continuous", GraphDescriptors.BertzCT, "Bertz' complexity index", "", 5.0),
    Descriptor("sp3", "continuous", _aliphatic, "share of carbon atoms that are sp3", "", 0.02),
    Descriptor("heavy_atoms", "count", Chem.Mol.GetNumHeavyAtoms, "atoms other than hydrogen"),
    Descriptor("heteroatoms", "count", rdMolDescriptors.CalcNumHeteroatoms, "atoms other than C and H"),
    Descriptor("halogens", "count", _halogens, "halogen atoms"),
    Descriptor("donors", "count", Lipinski.NumHDonors, "hydrogen-bond donors"),  # type: ignore[attr-defined]
    Descriptor("acceptors", "count", Lipinski.NumHAcceptors, "hydrogen-bond acceptors"),  # type: ignore[attr-defined]
    Descriptor("rings", "count", rdMolDescriptors.CalcNumRings, "rings"),
    Descriptor("aromatic_rings", "count", rdMolDescriptors.CalcNumAromaticRings, "aromatic rings"),
    Descriptor("rotatable_bonds", "count", rdMolDescriptors.CalcNumRotatableBonds, "rotatable bonds"),
    Descriptor(
        "stereocenters", "count", rdMolDescriptors.CalcNumAtomStereoCenters, "stereocenters, set or not"
    ),
    Descriptor("ring_system", "category", ring_system, "kinds of rings", categories=RING_SYSTEMS),
    Descriptor("charge", "category", charge_state, "charge state", categories=CHARGES),
)
NAMES: tuple[str, ...] = tuple(descriptor.name for descriptor in DESCRIPTORS)


def descriptor_row(mol: Chem.Mol) -> NDArray[np.float64]:
    """All descriptors of a sanitized molecule with implied hydrogens, float64 [17]; categories as their index."""
    return np.array([float(descriptor.function(mol)) for descriptor in DESCRIPTORS])
