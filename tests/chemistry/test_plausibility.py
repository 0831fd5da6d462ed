"""Geometry beyond valence: distributions of lengths and angles, and PoseBusters' checks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chemistry.formats.smiles import embed
from chemistry.geometry import distances, geometry
from chemistry.mol import to_mol
from chemistry.plausibility import plausibility
from chemistry.sanitize import sanitize
from chemistry.structure import Structure

METHANE = Structure(
    np.array([6, 1, 1, 1, 1]),
    1.09 / np.sqrt(3) * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
)


def test_methane_has_the_lengths_and_angles_of_a_tetrahedron() -> None:
    found = geometry([METHANE])
    np.testing.assert_allclose(found["length C-H"], [1.09] * 4)
    np.testing.assert_allclose(found["angle H-C-H"], [np.degrees(np.arccos(-1 / 3))] * 6)
    assert found["atoms"].tolist() == [5]


def test_stretching_every_bond_moves_the_distribution_by_as_much() -> None:
    longer = Structure(METHANE.numbers, METHANE.positions * 1.03)
    found = distances(geometry([longer] * 20), geometry([METHANE] * 20))
    assert found["length C-H"].value == pytest.approx(0.03 * 1.09)
    assert (found["length C-H"].n, found["length C-H"].unit) == (80, "angstrom")
    assert found["angle H-C-H"].value == pytest.approx(0, abs=1e-9)


def test_what_is_seen_too_seldom_is_not_compared() -> None:
    assert set(distances(geometry([METHANE] * 20), geometry([METHANE] * 20))) == {"length C-H", "angle H-C-H"}
    assert distances(geometry([METHANE]), geometry([METHANE] * 20)) == {}


@pytest.fixture
def benzene() -> Structure:
    embedded = embed("c1ccccc1")
    assert isinstance(embedded, Structure)
    return embedded


def judged(structure: Structure, change: Callable[[np.ndarray], None] = lambda _: None) -> dict[str, bool]:
    positions = np.array(structure.positions)
    change(positions)
    mol = to_mol(Structure(structure.numbers, positions), structure.bonds)
    assert sanitize(mol) is None
    (found,) = plausibility([mol])
    assert found.passed == all(found.checks.values())
    return found.checks


def test_benzene_passes_and_a_spoiled_one_fails_where_it_is_spoiled(benzene: Structure) -> None:
    pytest.importorskip("posebusters")
    assert all(judged(benzene).values())

    def lift(positions: np.ndarray) -> None:
        normal = np.cross(positions[1] - positions[0], positions[2] - positions[0])
        positions[0] += 1.2 * normal / np.linalg.norm(normal)

    def pull(positions: np.ndarray) -> None:  # a carbon and its hydrogen, away from the ring
        axis = positions[0] - positions[3]
        positions[[0, 6]] += 0.7 * axis / np.linalg.norm(axis)

    assert not judged(benzene, lift)["aromatic_ring_flatness"]
    assert not judged(benzene, pull)["bond_angles"]
    assert not judged(benzene, pull)["bond_lengths"]


def test_no_molecules_have_no_checks() -> None:
    pytest.importorskip("posebusters")
    assert plausibility([]) == []
