"""Strain: zero at a minimum, never negative, the same after a rotation, and named when MMFF94 stands in."""

from dataclasses import replace

import numpy as np
import pytest

from chemistry import strain as strain_module
from chemistry.formats import embed
from chemistry.guard import Guard
from chemistry.hessian import molecular_hessian, xtb_available
from chemistry.reasons import Failure
from chemistry.strain import Strain, XtbUnavailableError, relaxed_strain, strain, strains
from chemistry.structure import Structure

needs_xtb = pytest.mark.skipif(not xtb_available(), reason="needs tblite")
MODELS = ["mmff", pytest.param("xtb", marks=needs_xtb)]


def shaken(structure, size=0.05, seed=0):
    noise = size * np.random.default_rng(seed).normal(size=structure.positions.shape)
    return replace(structure, positions=structure.positions + noise)


@pytest.mark.parametrize("model", MODELS)
def test_a_relaxed_geometry_has_no_strain_and_a_shaken_one_has(model):
    first = relaxed_strain(embed("CCO"), model)
    assert isinstance(first, Strain), first
    again = relaxed_strain(first.relaxed, model)
    assert again.energy < 0.02
    assert again.displacement < 0.02
    moved = relaxed_strain(shaken(first.relaxed), model)
    assert 5 < moved.energy < 100
    assert moved.gradient <= strain_module.TOLERANCE
    assert moved.same_bonds
    assert not moved.fallback


@pytest.mark.parametrize("model", MODELS)
def test_a_small_strain_is_half_the_displacement_times_the_hessian_times_the_displacement(model):
    bottom = molecular_hessian(embed("O"), model)
    d = 0.02 * np.random.default_rng(2).normal(size=9)
    found = relaxed_strain(
        replace(bottom.structure, positions=bottom.structure.positions + d.reshape(3, 3)), model
    )
    assert found.energy == pytest.approx(0.5 * d @ bottom.matrix @ d, rel=0.1)


def test_rotation_and_translation_do_not_change_strain():
    given = shaken(embed("CC=O"))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    moved = replace(given, positions=given.positions @ turn.T + 5.0)
    assert relaxed_strain(moved, "mmff").energy == pytest.approx(
        relaxed_strain(given, "mmff").energy, abs=0.05
    )


def test_a_relaxation_that_makes_bonds_says_so():
    """Two hydrogens at 1.1 Angstrom share no bond by distances; GFN2-xTB brings them together."""
    apart = Structure([1, 1], [[0, 0, 0], [0, 0, 1.1]])
    if not xtb_available():
        pytest.skip("needs tblite")
    assert not relaxed_strain(apart, "xtb").same_bonds


@needs_xtb
def test_mmff_stands_in_by_name_where_tblite_is_missing(monkeypatch):
    given = shaken(embed("CCO"))
    assert relaxed_strain(given, "auto").model == "GFN2-xTB"
    monkeypatch.setattr("chemistry.hessian.xtb.xtb_available", lambda: False)
    found = relaxed_strain(given, "auto")
    assert found.model == "MMFF94"
    assert "tblite" in found.fallback


def test_asking_for_xtb_where_it_is_missing_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(strain_module, "xtb_available", lambda: False)
    with pytest.raises(XtbUnavailableError, match="equimol\\[xtb\\]"):
        strain(embed("O"), model="xtb")


def test_strains_come_in_order_and_one_that_fails_spoils_only_itself():
    good, bad = shaken(embed("CO")), embed("C[Hg]C")
    found = strains([good, bad, good], model="mmff")
    assert isinstance(found[1], Failure)
    assert found[1].reasons[0].code == "no-parameters"
    assert found[0].energy == found[2].energy == relaxed_strain(good, "mmff").energy


@needs_xtb
def test_a_relaxation_that_takes_too_long_is_stopped():
    with Guard(timeout_seconds=0.2) as guard:
        found = strain(embed("CC(C)Cc1ccc(cc1)C(C)C(=O)O"), model="xtb", guard=guard)
    assert isinstance(found, Failure)
    assert found.reasons[0].code == "timeout"
