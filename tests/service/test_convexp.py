"""Partial charges on molecular graphs through the whole service: scores, the wrong atom, completion, bad input."""

import numpy as np
import pytest

from tests.service.conftest import finished_job

MODEL = "/v1/models/convexp-graph"
ACETALDEHYDE = "CC=O"


@pytest.fixture
def rows(http):
    return lambda capability, **body: finished_job(http, f"{MODEL}/{capability}", {"seed": 1, **body})[1]


def test_contributions_add_up_and_a_swapped_charge_is_found(rows):
    (row,) = rows("score", molecules={"smiles": [ACETALDEHYDE]})
    atoms = row["atoms"]
    assert row["kind"] == "exact"
    assert sum(atom["contribution"] for atom in atoms) == pytest.approx(row["log_likelihood"], abs=1e-9)
    assert sum(atom["charge"] for atom in atoms) == pytest.approx(0, abs=1e-9)
    assert row["log_likelihood"] > row["baseline"]
    charges = [atom["charge"] for atom in atoms]
    swapped = [charges[1], charges[0], *charges[2:]]
    (wrong,) = rows("score", molecules={"smiles": [ACETALDEHYDE]}, charges=[swapped])
    assert wrong["charges_from"] == "given"
    assert wrong["log_likelihood"] < row["log_likelihood"]
    assert wrong["best_swap"]["atoms"] == [0, 1]
    assert wrong["best_swap"]["gain"] == pytest.approx(
        row["log_likelihood"] - wrong["log_likelihood"], abs=0.05
    )
    assert wrong["family_p_value"] < 1e-6


def test_missing_charges_are_completed_and_the_given_ones_kept(rows):
    (row,) = rows("score", molecules={"smiles": ["CO"]})
    truth = [atom["charge"] for atom in row["atoms"]]
    given = [None, *truth[1:]]
    (made,) = rows("complete", molecules={"smiles": ["CO"]}, charges=[given], draws=3)
    (missing,) = made["missing"]
    assert missing["atom"] == 0
    assert missing["median"] == pytest.approx(truth[0], abs=0.1)
    assert missing["low"] < missing["median"] < missing["high"]
    assert np.shape(made["samples"]) == (3, 6)
    assert made["charges"][1:] == truth[1:]
    (again,) = rows("complete", molecules={"smiles": ["CO"]}, charges=[given], draws=3)
    assert again["samples"] == made["samples"]


def test_what_cannot_be_scored_says_why_and_spoils_only_its_own_row(rows):
    good, chlorine, broken = rows("score", molecules={"smiles": ["O", "CCl", "C1CC"]})
    assert good["valid"]
    assert chlorine["reasons"][0]["code"] == "unknown-element"
    assert broken["reasons"][0]["code"] == "bad-record"
    (short,) = rows("score", molecules={"smiles": ["O"]}, charges=[[0.1, 0.2]])
    assert "3 atoms, hydrogens included, but 2 charges" in short["reasons"][0]["message"]
    (large,) = rows("score", molecules={"smiles": ["CCCCCCCCCCCCCCCC"]})
    assert not large["in_domain"]


@pytest.mark.parametrize("charges", [[["x"]], [[99.0]], "NaN", [[None]]])
def test_charges_that_are_none_are_refused_at_the_door(http, charges):
    answer = http.post(f"{MODEL}/score", json={"molecules": {"smiles": ["O"]}, "charges": charges})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
