"""Multinomial diffusion behind the seam, with a small untrained model: laws that hold for any weights."""

from __future__ import annotations

import math

import pytest

from workers.adapters.base import Item
from workers.cards import load_card
from workers.problems import Validation
from workers.schemas.multinomial import (
    InfillRequest,
    RepairRequest,
    SampleRequest,
    ScoreRequest,
    VaryRequest,
)
from workers.settings import Settings

CONFIG = {
    "tokens": ["C", "c", "O", "N", "(", ")", "1", "="],
    "longest": 20,
    "lengths": {"5": 3, "8": 5, "12": 2},
    "steps": 10,
    "form": "mixture",
    "network": {"width": 16, "layers": 1, "heads": 2, "hidden": 32},
}
CARD = {
    "id": "tiny-strings",
    "family": "multinomial",
    "title": "Tiny",
    "capabilities": ["sample", "score", "infill", "repair", "vary"],
    "config": CONFIG,
}


@pytest.fixture(scope="session")
def string_card(tmp_path_factory):
    import torch

    from models.multinomial.model import MultinomialDiffusion
    from models.weights import save_model

    torch.manual_seed(0)
    return load_card(save_model(MultinomialDiffusion(CONFIG), CARD, tmp_path_factory.mktemp("weights")))


@pytest.fixture
def run(run_rows, string_card):
    return lambda request, items, capability: run_rows("multinomial", string_card, capability, request, items)


def given(*texts):
    return [Item(k, 1, text.encode(), "smiles") for k, text in enumerate(texts)]


MOLECULES = {"smiles": ["C"]}


def test_samples_are_the_same_alone_and_in_any_batch_and_have_the_lengths_asked_for(run):
    request = SampleRequest(steps=5, n_tokens=(3, 6))
    together = run(request, [Item(k, 2) for k in range(6)], "sample")
    assert run(request, [Item(3, 2)], "sample") == [together[3]]
    assert all(3 <= row["n_tokens"] <= 6 and isinstance(row["valid"], bool) for row in together)
    assert all(row["valid"] or row["reasons"] for row in together)


def test_a_score_is_a_bound_with_its_tokens_and_strange_strings_say_why(run):
    rows = run(
        ScoreRequest(molecules=MOLECULES, draws=3),
        given("OCC name", "CBr", "C1CC", "C" * 21),
        "score",
    )
    scored, unknown, broken, long = rows
    assert scored["string"] == "CCO" and scored["title"] == "name" and scored["kind"] == "lower_bound"
    assert [one["token"] for one in scored["tokens"]] == ["C", "C", "O"]
    bits = sum(one["bits"] for one in scored["tokens"]) - scored["terms"]["length"] / math.log(2)
    assert bits == pytest.approx(scored["bits"])
    assert [row["reasons"][0]["code"] for row in (unknown, broken, long)] == [
        "unknown-token",
        "bad-record",
        "too-long",
    ]


def test_an_infilled_string_has_all_that_the_template_fixes(run):
    request = InfillRequest(templates=["CC(=O)N{2-4}c1?", "C*"], n_completions=8, gap_tokens=(3, 6), steps=5)
    rows = run(request, [Item(k, 2) for k in range(16)], "infill")
    for row in rows[:8]:
        assert row["string"].startswith("CC(=O)N") and row["string"][:-1].endswith("c1")
        assert 7 + 2 + 2 + 1 <= row["n_tokens"] <= 7 + 4 + 2 + 1
        gap, end = row["filled"].split(".")
        assert row["string"] == f"CC(=O)N{gap}c1{end}" and row["template_number"] == 0
    assert len({row["string"] for row in rows[:8]}) > 4
    assert all(row["template"] == "C*" and row["string"] == "C" + row["filled"] for row in rows[8:])
    with pytest.raises(Validation, match="gap"):
        run(InfillRequest(templates=["CCO"]), [Item(0, 1)], "infill")


def test_broken_strings_are_repaired_by_few_edits_and_valid_ones_are_left(run):
    request = RepairRequest(molecules=MOLECULES, n_repairs=3)
    unclosed, ring, fine, strange = run(request, given("CC(C", "c1cccc1 five", "CCO", "C[Xx]"), "repair")
    assert unclosed["valid"] and unclosed["edits"] == 1 and len(unclosed["repairs"]) == 3
    assert all(one["edits"] == 1 and one["smiles"] for one in unclosed["repairs"])
    scores = [one["score"] for one in unclosed["repairs"]]
    assert scores == sorted(scores, reverse=True) and unclosed["log_likelihood"] < 0
    assert ring["title"] == "five" and ring["valid"] and ring["given"] == "c1cccc1"
    assert fine["was_valid"] and fine["edits"] == 0 and fine["smiles"] == "CCO"
    assert strange["reasons"][0]["code"] == "unknown-token" and not strange["valid"]


def test_variants_tell_how_alike_they_are_and_never_repeat_the_molecule(run):
    row = run(VaryRequest(molecules=MOLECULES, noise=0.4, n_variants=24, steps=4), given("CCCCO"), "vary")[0]
    assert row["noise"] == 0.4 and len(row["variants"]) == 24 and row["parent"] == "CCCCO"
    valid = [one for one in row["variants"] if one["valid"]]
    assert row["n_valid"] == len(valid) and all(0 <= one["tanimoto"] <= 1 for one in valid)
    if row["n_different"]:
        assert row["smiles"] != "CCCCO"
        assert row["tanimoto"] == max(one["tanimoto"] for one in valid if one["smiles"] != "CCCCO")


def test_more_steps_than_the_model_has_are_pointed_at(string_card):
    for request in (SampleRequest(steps=11), InfillRequest(templates=["C?"], steps=11)):
        with pytest.raises(Validation, match="10 steps") as found:
            request.check_model(string_card, Settings())
        assert found.value.extensions["errors"][0]["pointer"] == "/steps"
    with pytest.raises(Validation, match="'X'") as found:
        InfillRequest(templates=["C?", "CX?"], steps=5).check_model(string_card, Settings())
    assert found.value.extensions["errors"][0]["pointer"] == "/templates/1"
