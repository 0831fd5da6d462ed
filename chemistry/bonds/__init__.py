"""Bonds from coordinates: the published distance table, and RDKit's perception behind a guard."""

from chemistry.bonds.distance import DistanceBonds, distance_bonds
from chemistry.bonds.rdkit_rule import ChargedBonds, rdkit_bonds
from chemistry.bonds.table import VALENCES

__all__ = ["VALENCES", "ChargedBonds", "DistanceBonds", "distance_bonds", "rdkit_bonds"]
