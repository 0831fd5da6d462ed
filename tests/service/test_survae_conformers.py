"""Bond lengths through the whole service: scores, the odd bond, sets to expect, bad input."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.service.conftest import finished_job

MODEL = "/v1/models/survae-conformers"
# Methanol as QM9 has it (B3LYP/6-31G(2df,p)).
NUMBERS = [6, 8, 1, 1, 1, 1]
POSITIONS = [
    [-0.0131, 1.4072, 0.0083], [0.0033, 0.0113, 0.0], [0.9957, 1.8319, -0.0102],
    [-0.5393, 1.7724, -0.8817], [-0.5252, 1.7646, 0.9078], [-0.9045, -0.3076, 0.0078],
]  # fmt: skip


@pytest.fixture
def ask(http):
    """Post a request and wait: its job and rows."""
    return lambda capability, **body: finished_job(http, f"{MODEL}/{capability}", {"seed": 1, **body})


def structure(positions, order=range(6)):
    return {"numbers": [NUMBERS[i] for i in order], "positions": [positions[i] for i in order]}


def test_a_real_geometry_is_usual_and_its_atoms_may_come_in_any_order(ask, http):
    order = [3, 1, 5, 0, 2, 4]
    job, (row, again) = ask(
        "score", molecules={"structures": [structure(POSITIONS), structure(POSITIONS, order)]}
    )
    assert row["kind"] == "exact" and row["standard_error"] == 0 and row["n_bonds"] == 5
    assert again["log_likelihood"] == pytest.approx(row["log_likelihood"], abs=1e-9)
    assert row["percentile"] > 1 and row["in_domain"] and not row["reasons"]
    bonds = {tuple(sorted(bond["atoms"])): bond for bond in row["bonds"]}
    assert bonds[0, 1]["bond"] == "C-O" and bonds[0, 1]["length"] == pytest.approx(1.396, abs=1e-3)
    assert bonds[0, 1]["low"] < bonds[0, 1]["length"] < bonds[0, 1]["high"]
    moved = {tuple(sorted(order[i] for i in bond["atoms"])): bond["p_value"] for bond in again["bonds"]}
    for pair, bond in bonds.items():
        assert moved[pair] == pytest.approx(bond["p_value"], abs=1e-7)
    table = list(csv.DictReader(io.StringIO(http.get(f"{job['links']['self']}/files/scores.csv").text)))
    assert float(table[0]["log_likelihood"]) == row["log_likelihood"]


def test_the_stretched_bond_is_named(ask):
    """The bond from O to H, 0.08 Angstrom longer than it is."""
    wrong = np.array(POSITIONS)
    direction = wrong[5] - wrong[1]
    wrong[5] += 0.08 * direction / np.linalg.norm(direction)
    _, (right, row) = ask(
        "score", molecules={"structures": [structure(POSITIONS), structure(wrong.tolist())]}
    )
    assert row["log_likelihood"] < right["log_likelihood"] - 5
    assert sorted(row["most_surprising"]["atoms"]) == [1, 5] and row["most_surprising"]["bond"] == "O-H"
    assert row["family_p_value"] < 1e-3 < right["family_p_value"]
    assert row["percentile"] < 1 and row["reasons"][0]["code"] == "outside-density"


def test_sets_are_drawn_for_the_bonds_of_a_molecule_and_again_by_their_seed(ask):
    _, (row,) = ask("sample", molecules={"smiles": ["C=O"]}, draws=64)
    drawn = np.array(row["samples"])
    assert drawn.shape == (64, 3) and [bond["bond"] for bond in row["bonds"]] == ["C=O", "C-H", "C-H"]
    assert drawn[:, 0].mean() == pytest.approx(1.2, abs=0.03)
    assert drawn[:, 1:].mean() == pytest.approx(1.11, abs=0.03)
    _, (again,) = ask("sample", molecules={"smiles": ["C=O"]}, draws=64)
    assert again["samples"] == row["samples"]


def test_what_cannot_be_scored_says_why_and_spoils_only_its_own_row(ask):
    _, (good, chlorine, broken, alone, large) = ask(
        "score", molecules={"smiles": ["CO", "CCl", "C1CC", "[He]", "CCCCCCCCCCCCCCCC"]}, bonds=False
    )
    assert good["valid"] and good["log_likelihood"] is not None and "bonds" not in good
    assert chlorine["reasons"][0]["code"] == "unknown-bond"
    assert "C-Cl" in chlorine["reasons"][0]["message"]
    assert broken["reasons"][0]["code"] == "bad-record"
    assert not alone["valid"] and alone["reasons"]
    assert not large["in_domain"]


@pytest.mark.parametrize(
    ("capability", "field", "value"),
    [("sample", "draws", 0), ("sample", "draws", 10_000), ("score", "bonds", 3), ("score", "order", 1)],
)
def test_fields_that_make_no_sense_are_pointed_at(http, capability, field, value):
    answer = http.post(f"{MODEL}/{capability}", json={"molecules": {"smiles": ["C"]}, field: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == f"/{field}"


def test_nothing_but_the_geometry_counts(ask):
    """Turned, shifted and mirrored structures have the same score."""
    turned = np.array(POSITIONS) @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, -1]]) + 3.0
    _, (row, moved) = ask(
        "score", molecules={"structures": [structure(POSITIONS), structure(turned.tolist())]}, bonds=False
    )
    assert moved["log_likelihood"] == pytest.approx(row["log_likelihood"], abs=1e-6)
