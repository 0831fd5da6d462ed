import numpy as np
import pytest

from chemistry.elements import SYMBOLS, number_of, symbol_of
from chemistry.errors import BadStructureError, UnknownElementError
from chemistry.structure import Bond, Structure

WATER = ([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def test_a_structure_keeps_its_own_read_only_copy():
    positions = np.array(WATER[1], dtype=float)
    water = Structure(WATER[0], positions)
    positions[0] = 7
    assert water.positions[0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        water.positions[0] = 1


@pytest.mark.parametrize(
    ("numbers", "positions", "said"),
    [
        ([], np.zeros((0, 3)), "at least one atom"),
        ([6], [[0, 0, float("nan")]], "finite"),
        ([6], [[0, 0, float("inf")]], "finite"),
        ([6], [[0, 0, 1e9]], "finite"),
        ([6, 6], [[0, 0, 0]], r"wanted \[2, 3\]"),
        ([6], [[0, 0]], r"wanted \[1, 3\]"),
        ([[6]], [[0, 0, 0]], "shape"),
        ([6.5], [[0, 0, 0]], "whole numbers"),
        (["C"], [[0, 0, 0]], "whole numbers"),
        ([6], [["a", 0, 0]], "numbers"),
        ([6, 1], [[0, 0, 0], [0]], "positions"),
        ([10**30], [[0, 0, 0]], "numbers"),
    ],
)
def test_what_cannot_be_a_molecule_is_refused_with_what_was_wanted(numbers, positions, said):
    with pytest.raises(BadStructureError, match=said) as caught:
        Structure(numbers, positions)
    assert caught.value.code == "bad-structure"


@pytest.mark.parametrize("number", [0, -1, 119])
def test_an_atomic_number_outside_the_table_is_an_unknown_element(number):
    with pytest.raises(UnknownElementError, match="1 to 118"):
        Structure([number], [[0, 0, 0]])


def test_bonds_and_charges_must_fit_the_atoms():
    with pytest.raises(BadStructureError, match="does not join"):
        Structure(*WATER, bonds=(Bond(0, 3, 1.0),))
    with pytest.raises(BadStructureError, match="does not join"):
        Structure(*WATER, bonds=(Bond(1, 1, 1.0),))
    with pytest.raises(BadStructureError, match="order"):
        Structure(*WATER, bonds=(Bond(0, 1, 2.5),))
    with pytest.raises(BadStructureError, match="atom_charges"):
        Structure(*WATER, atom_charges=(0,))


@pytest.mark.parametrize(
    ("numbers", "charge", "formula"),
    [
        ([8, 1, 1], 0, "H2O"),
        ([1, 6, 17, 1, 1], 0, "CH3Cl"),
        ([7, 1, 1, 1, 1], 1, "H4N+"),
        ([16, 8, 8, 8, 8], -2, "O4S-2"),
        ([35, 6, 9], 0, "CBrF"),
    ],
)
def test_the_formula_is_in_hill_order(numbers, charge, formula):
    assert Structure(numbers, np.arange(3 * len(numbers)).reshape(-1, 3), charge).formula == formula


def test_symbols_and_numbers_are_inverse():
    assert len(SYMBOLS) == 119
    assert all(number_of(symbol_of(number)) == number for number in range(1, 119))
    assert number_of("CL") == number_of("cl") == number_of("17") == 17
    assert number_of("D") == 1
    for text in ("", "Xx", "C1", "0", "119", "999999999", "-6", "٣"):
        with pytest.raises(UnknownElementError):
            number_of(text)
