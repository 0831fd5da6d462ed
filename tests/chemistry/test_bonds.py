import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemistry.bonds import VALENCES, distance_bonds
from chemistry.bonds.distance import distances
from chemistry.bonds.table import DOUBLE, SINGLE, TRIPLE
from chemistry.elements import number_of

from .conftest import HARD_SMILES, rotation


def order_at(first: str, second: str, picometers: float) -> int:
    """Order of the bond that the table sees between two atoms at a distance."""
    numbers = np.array([number_of(first), number_of(second)])
    found = distance_bonds(numbers, np.array([[0, 0, 0], [picometers / 100, 0, 0]]))
    return int(found.order[0]) if len(found.order) else 0


@pytest.mark.parametrize(
    ("first", "second", "picometers", "order"),
    [
        ("C", "C", 164.1, 0),
        ("C", "C", 163.9, 1),
        ("C", "C", 139.1, 1),
        ("C", "C", 138.9, 2),
        ("C", "C", 123.1, 2),
        ("C", "C", 122.9, 3),
        ("C", "N", 133.9, 2),
        ("C", "O", 115.9, 3),
        ("N", "O", 125.9, 2),
        ("O", "O", 90.0, 2),  # no triple bond is tabulated
        ("H", "F", 101.9, 1),
        ("H", "F", 102.1, 0),
        ("C", "S", 164.9, 2),
        ("S", "C", 164.9, 2),
        ("P", "S", 190.9, 2),
        ("I", "I", 275.9, 1),
        ("B", "C", 100.0, 0),  # pairs without an entry never bond
        ("Al", "O", 100.0, 0),
    ],
)
def test_orders_follow_the_published_lengths_and_margins(first, second, picometers, order):
    assert order_at(first, second, picometers) == order


def test_the_tables_are_symmetric_and_each_order_needs_the_one_below():
    for table in (SINGLE, DOUBLE, TRIPLE):
        assert np.array_equal(table, table.T)
    assert ((DOUBLE == 0) | (SINGLE > DOUBLE)).all()
    assert ((TRIPLE == 0) | (DOUBLE > TRIPLE)).all()
    # The count guards the transcription: every pair of the published table, once.
    assert [np.count_nonzero(np.triu(table)) for table in (SINGLE, DOUBLE, TRIPLE)] == [64, 9, 4]


def test_valences_are_the_published_ones():
    assert len(VALENCES) == 16
    assert VALENCES[number_of("S")] == {4}
    assert VALENCES[number_of("P")] == {3, 5}
    assert VALENCES[number_of("Hg")] == {1, 2}


@pytest.mark.parametrize("name", HARD_SMILES)
@given(seed=st.integers(0, 10_000))
def test_bonds_do_not_depend_on_place_orientation_or_order_of_atoms(hard, name, seed):
    structure = hard[name]
    generator = np.random.default_rng(seed)
    order = generator.permutation(structure.n_atoms)
    moved = structure.positions @ rotation(seed) + generator.normal(size=3) * 10
    before = distance_bonds(structure.numbers, structure.positions)
    after = distance_bonds(structure.numbers[order], moved[order])
    assert np.array_equal(after.stable, before.stable[order])
    renamed = {(*sorted((int(order[b.begin]), int(order[b.end]))), b.order) for b in after.bonds}
    assert renamed == {(*sorted((b.begin, b.end)), b.order) for b in before.bonds}


def test_distances_agree_with_their_definition():
    positions = np.random.default_rng(0).normal(size=(7, 3))
    wanted = [[np.linalg.norm(a - b) for a in positions] for b in positions]
    assert np.allclose(distances(positions), wanted, rtol=0, atol=1e-14)


def test_single_precision_and_small_integers_are_accepted_as_data_sets_store_them():
    numbers, positions = (
        np.array([6, 8], dtype=np.uint8),
        np.array([[0, 0, 0], [0, 0, 1.12]], dtype=np.float32),
    )
    assert distance_bonds(numbers, positions).order.tolist() == [3]
