"""Molecules to score have the same bonds, kinds and charges as the data set's molecules that models learned from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chemistry.bonds.lengths import BondLengths, bond_lengths, measured_bonds
from chemistry.bonds.mapped import mapped_mol
from chemistry.charges import charged_graph, mapped_graph
from chemistry.formats import read_structures
from chemistry.reasons import Failure
from chemistry.structure import Structure

SMILES = (
    "CCO",
    "c1ccoc1",
    "Cc1cnn(C)c1O",
    "CC(C)c1n[nH]nc1O",
    "C#CC=O",
    "N#CC1CC1",
    "O=c1cc[nH]cc1",
    "Cc1ccncc1",
)


def embedded(smiles: str) -> Structure:
    found = next(iter(read_structures(smiles, "smiles", seed=3)))
    assert isinstance(found, Structure)
    return found


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("smiles", SMILES)
def test_a_structure_to_score_is_read_as_a_molecule_of_the_data_set(smiles: str, stated: bool) -> None:
    """With bonds stated or perceived by distance; aromatic bonds count 1.5 in all of them."""
    structure = embedded(smiles)
    mol = mapped_mol(smiles, structure.numbers, structure.positions)
    assert mol is not None
    given = structure if stated else dataclasses.replace(structure, bonds=None)
    expected, found = bond_lengths(mol), measured_bonds(given)
    assert isinstance(found, BondLengths)
    assert sorted(map(describe(expected), range(len(expected)))) == sorted(
        map(describe(found), range(len(found)))
    )
    learned, served = mapped_graph(smiles, structure.numbers, structure.positions), charged_graph(given)
    assert learned is not None and not isinstance(served, Failure)
    for name in ("numbers", "charges", "rings", "aromatic"):
        assert np.array_equal(getattr(learned[0], name), getattr(served[0], name)), name
    assert not isinstance(served[1], Failure)
    np.testing.assert_allclose(learned[1], served[1], atol=1e-6)
    assert ("c" in smiles) == bool((found.orders == 1.5).any())


def describe(bonds: BondLengths):
    return lambda k: (*sorted(bonds.atoms[k].tolist()), *bonds.key(k), round(float(bonds.lengths[k]), 6))


def test_lengths_are_distances_and_a_lone_atom_has_none() -> None:
    structure = embedded("CO")
    found = measured_bonds(structure)
    assert isinstance(found, BondLengths) and len(found) == 5
    for k, (a, b) in enumerate(found.atoms.tolist()):
        distance = np.linalg.norm(structure.positions[a] - structure.positions[b])
        assert found.lengths[k] == pytest.approx(distance)
        assert found.elements[k].tolist() == sorted(structure.numbers[[a, b]].tolist())
    assert found.key(0) == (6, 8, 1.0, False)
    alone = next(iter(read_structures("1\n\nHe 0 0 0\n", "xyz")))
    assert isinstance(alone, Structure)
    reason = measured_bonds(alone)
    assert isinstance(reason, Failure)


def test_a_molecule_whose_coordinates_are_of_another_is_not_believed() -> None:
    structure = embedded("CCO")
    assert mapped_mol("COC", structure.numbers, structure.positions) is None
    assert mapped_mol("CCN", structure.numbers, structure.positions) is None
    assert mapped_mol("C1CC", structure.numbers, structure.positions) is None
