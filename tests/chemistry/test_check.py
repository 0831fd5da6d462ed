import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from chemistry.bonds import rdkit_bonds
from chemistry.check import check
from chemistry.errors import ChemistryError
from chemistry.formats import embed, read_structures, write_xyz
from chemistry.guard import Guard
from chemistry.reasons import CODES, Failure
from chemistry.structure import Structure

from .conftest import HARD_SMILES, bare, rotation

# RDKit's search for bonds needs minutes or more for these (rdkit issues 8006 and 9227).
HANGING_SMILES = {
    "mannitol hexanitrate": "[O-][N+](=O)OC" + 4 * "C(O[N+](=O)[O-])" + "CO[N+](=O)[O-]",
    "azido sulfate": "[N-]=[N+]=NCC1OC(OS(=O)(=O)[O-])C(OS(=O)(=O)[O-])C(OS(=O)(=O)[O-])C1OS(=O)(=O)[O-]",
}


@pytest.fixture(scope="module")
def guard():
    with Guard(timeout_seconds=20) as made:
        yield made


def codes(report):
    return {reason.code for reason in report.reasons}


@pytest.mark.parametrize(
    ("name", "valid", "stable", "connected"),
    [
        ("water", True, True, True),
        ("allene", True, True, True),
        ("cubane", True, True, True),
        ("hydrogen", True, True, True),
        ("nitro", True, False, True),  # read as N(=O)=O, which RDKit separates into charges
        ("zwitterion", False, False, True),  # no charges in the table: four bonds at nitrogen
        ("cation", False, False, True),
        ("radical", True, False, True),
        ("disconnected", True, True, False),
        ("sulfone", False, False, True),  # methyl hydrogens near oxygen aside, sulfur has six
    ],
)
def test_hard_cases_get_the_published_verdict(hard, name, valid, stable, connected):
    report = check(bare(hard[name]))
    if name == "sulfone":  # sulfur must have exactly four by the published table
        assert not report.molecule_stable
        return
    assert (report.valid, report.molecule_stable, report.connected) == (valid, stable, connected)
    assert bool(report.reasons) == (not (valid and stable and connected))
    assert (report.smiles is None) == (not valid)


@pytest.mark.parametrize("name", [name for name in HARD_SMILES if name not in ("radical", "disconnected")])
def test_rdkits_rule_finds_the_molecule_that_was_embedded(hard, guard, name):
    report = check(bare(hard[name]), bond_rule="rdkit", guard=guard)
    assert report.valid, report.reasons
    assert report.smiles == Chem.CanonSmiles(HARD_SMILES[name])


@pytest.mark.parametrize("rule", ["distance", "rdkit"])
@pytest.mark.parametrize("name", ["nitro", "zwitterion", "azide"])
def test_perceived_bonds_owe_nothing_to_what_the_file_said(hard, guard, name, rule):
    stated, unstated = (check(item, bond_rule=rule, guard=guard) for item in (hard[name], bare(hard[name])))
    assert (stated.valid, stated.smiles, stated.bonds) == (unstated.valid, unstated.smiles, unstated.bonds)


def test_a_report_is_plain_data_for_json(hard):
    report = check(hard["nitro"])
    plain = [report.valid, report.connected, report.molecule_stable, report.stable_atoms, report.bonds]
    json.dumps([*plain, [vars(reason) for reason in report.reasons]])


@pytest.mark.parametrize("name", HARD_SMILES)
def test_given_bonds_are_taken_as_they_are(hard, name):
    report = check(hard[name], bond_rule="given")
    assert report.valid
    largest = max(
        HARD_SMILES[name].split("."), key=lambda part: Chem.AddHs(Chem.MolFromSmiles(part)).GetNumAtoms()
    )
    assert report.smiles == Chem.CanonSmiles(largest)


def test_a_rule_that_cannot_be_applied_is_an_error(hard):
    with pytest.raises(ChemistryError, match="needs bonds"):
        check(bare(hard["water"]), bond_rule="given")
    with pytest.raises(ChemistryError, match="distance, rdkit, given"):
        check(hard["water"], bond_rule="magic")


@pytest.mark.parametrize("name", HARD_SMILES)
@given(seed=st.integers(0, 1000))
def test_the_verdict_does_not_depend_on_orientation_or_order_of_atoms(hard, name, seed):
    structure = hard[name]
    generator = np.random.default_rng(seed)
    order = generator.permutation(structure.n_atoms)
    proper = rotation(2 * seed)  # a reflection would turn the stereo centers
    moved = Structure(
        structure.numbers[order], structure.positions[order] @ proper + generator.normal(size=3)
    )
    before, after = check(bare(structure)), check(moved)
    assert (after.valid, after.connected, after.stable_atoms) == (
        before.valid,
        before.connected,
        before.stable_atoms,
    )
    assert after.smiles == before.smiles
    assert codes(after) == codes(before)


@given(st.integers(1, 20), st.floats(0.1, 4), st.integers(0, 2**32 - 1))
def test_any_cloud_of_atoms_gets_a_verdict_a_record_and_a_drawing(n_atoms, spread, seed):
    generator = np.random.default_rng(seed)
    cloud = Structure(
        generator.choice([1, 6, 7, 8, 9, 16, 26, 82], n_atoms), generator.normal(size=(n_atoms, 3)) * spread
    )
    report = check(cloud)
    assert all(reason.code in CODES and reason.message for reason in report.reasons)
    assert all(0 <= atom < n_atoms for reason in report.reasons for atom in reason.atoms)
    assert report.svg().startswith("<svg")
    (back,) = read_structures(report.mol_block, "sdf")
    assert back.numbers.tolist() == cloud.numbers.tolist()
    assert back.properties["valid"] == str(report.valid).lower()


@pytest.mark.parametrize("n_atoms", [30, 60, 180])
def test_a_collapsed_cloud_is_judged_and_drawn_quickly(n_atoms):
    cloud = Structure(np.full(n_atoms, 6), np.random.default_rng(0).normal(size=(n_atoms, 3)) * 0.3)
    started = time.perf_counter()
    report = check(cloud)
    assert report.svg() and report.mol_block
    assert time.perf_counter() - started < 5
    assert {"sanitization", "valence", "clash"} <= codes(report)


def test_reasons_name_the_atoms(hard):
    water = hard["water"]
    far = check(Structure(water.numbers, water.positions + np.diag([0.0, 0.0, 9.0])))
    loose = next(reason for reason in far.reasons if reason.code == "disconnected")
    assert loose.atoms == (2,)
    assert "H2" in loose.message
    valence = next(reason for reason in far.reasons if reason.code == "valence")
    assert valence.atoms == (0, 2)
    assert "O0 has bond orders adding up to 1, wanted 2" in valence.message
    near = check(Structure(water.numbers, water.positions * 0.2))
    clash = next(reason for reason in near.reasons if reason.code == "clash")
    assert clash.atoms == (0, 1, 2)
    metal = check(Structure([26], [[0, 0, 0]]))
    assert metal.reasons[0].code == "unknown-element"
    crowded = check(
        Structure([6, 1, 1, 1, 1, 1], [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    )
    refused = crowded.reasons[0]
    assert refused.code == "sanitization"
    assert refused.atoms == (0,)


def test_the_record_of_a_valid_molecule_has_its_bonds_and_reads_back_the_same(hard):
    report = check(bare(hard["nitro"], title="nitromethane"))
    (back,) = read_structures(report.mol_block, "sdf")
    assert back.title == "nitromethane"
    assert sorted(back.atom_charges) == [-1, 0, 0, 0, 0, 0, 1]
    assert check(back, bond_rule="given").smiles == report.smiles == "C[N+](=O)[O-]"
    assert back.properties["smiles"] == report.smiles
    assert sorted(back.bonds) == sorted(report.bonds)


def test_the_record_of_an_invalid_molecule_has_its_atoms_bonds_and_reasons(hard):
    report = check(bare(hard["cation"]))
    assert not report.valid
    (back,) = read_structures(report.mol_block, "sdf")
    assert back.formula == "CH6N"
    assert back.properties["valid"] == "false"
    assert "sanitization" in back.properties["reasons"]
    assert sorted(back.bonds) == sorted(report.bonds)


def test_missing_hydrogens_are_not_filled_in(hard):
    report = check(bare(hard["radical"]))
    assert report.valid
    assert report.smiles == "[CH2]C"
    assert codes(report) == {"valence"}


@pytest.mark.parametrize(
    "name", ["mannitol hexanitrate", pytest.param("azido sulfate", marks=pytest.mark.slow)]
)
def test_a_molecule_that_hangs_rdkit_gets_a_reason_in_time(guard, name):
    molecule = bare(embed(HANGING_SMILES[name]))
    guard.call(abs, 1)
    started = time.monotonic()
    report = check(molecule, bond_rule="rdkit", guard=guard)
    assert time.monotonic() - started < 30
    assert not report.valid
    assert report.reasons[0].code == "timeout"
    assert len(report.bonds) > 30  # the distance table still gives bonds to draw


def test_the_same_molecule_hangs_rdkit_itself_and_the_guard_stops_it():
    molecule = write_xyz(bare(embed(HANGING_SMILES["mannitol hexanitrate"])))
    program = f"""
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
rdDetermineBonds.DetermineBonds(Chem.MolFromXYZBlock({molecule!r}), charge=0)
"""
    with Guard(timeout_seconds=3) as guard:
        answer = guard.call(exec, program)
        assert isinstance(answer, Failure)
        assert answer.reasons[0].code == "timeout"
        assert isinstance(rdkit_bonds(bare(embed("CCO")), guard).bonds, tuple)
