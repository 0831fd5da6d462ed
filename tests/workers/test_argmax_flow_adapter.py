"""Argmax flows behind the seam, with a small untrained model: laws that hold for any weights."""

from __future__ import annotations

import math

import pytest

from workers.adapters.base import Item
from workers.cards import load_card
from workers.problems import Validation
from workers.schemas.argmax_flow import InterpolateRequest, SampleRequest, ScoreRequest
from workers.settings import Settings

CONFIG = {
    "tokens": ["C", "c", "O", "N", "(", ")", "1", "="],
    "longest": 20,
    "lengths": {"5": 3, "8": 5, "12": 2},
    "base": 2,
    "posterior": {"kind": "softplus"},
    "flow": {
        "kind": "autoregressive",
        "bins": 4,
        "hidden": 16,
        "network": {"width": 16, "layers": 1, "heads": 2, "hidden": 32},
    },
}
CARD = {
    "id": "tiny-flow",
    "family": "argmax_flow",
    "title": "Tiny",
    "capabilities": ["sample", "score", "interpolate"],
    "config": CONFIG,
}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    import torch

    from models.argmax_flow.model import ArgmaxFlow
    from models.weights import save_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_card(save_model(ArgmaxFlow(CONFIG), CARD, tmp_path_factory.mktemp("weights")))


@pytest.fixture
def run(run_rows, card):
    return lambda request, items, capability: run_rows("argmax_flow", card, capability, request, items)


def points(request):
    return [Item(k, 3) for k in range(request.points)]


def test_samples_are_the_same_alone_and_in_any_batch_and_have_the_lengths_asked_for(run):
    request = SampleRequest(n_tokens=(3, 6), temperature=0.9)
    together = run(request, [Item(k, 2) for k in range(6)], "sample")
    assert run(request, [Item(3, 2)], "sample") == [together[3]]
    assert all(3 <= row["n_tokens"] <= 6 and isinstance(row["valid"], bool) for row in together)
    assert all(row["valid"] or row["reasons"] for row in together)


def test_a_score_is_a_bound_with_its_parts_and_strange_strings_say_why(run):
    items = [
        Item(k, 1, text.encode(), "smiles") for k, text in enumerate(("OCC name", "CBr", "C1CC", "C" * 21))
    ]
    request = ScoreRequest(molecules={"smiles": ["C"]}, draws=8)
    scored, unknown, broken, long = run(request, items, "score")
    assert scored["string"] == "CCO" and scored["title"] == "name" and scored["kind"] == "lower_bound"
    assert sum(scored["terms"].values()) == pytest.approx(scored["log_likelihood"])
    assert scored["bits"] == pytest.approx(-scored["log_likelihood"] / math.log(2))
    assert scored["draws"] == 8 and scored["bits_standard_error"] > 0 and scored["n_tokens"] == 3
    codes = [row["reasons"][0]["code"] for row in (unknown, broken, long)]
    assert codes == ["unknown-token", "bad-record", "too-long"] and unknown["string"] == "CBr"
    (plain,) = run(request.model_copy(update={"draws": 1}), items[:1], "score")
    assert plain["standard_error"] is None and plain["terms"]["weighting"] == 0


@pytest.mark.parametrize("way", ["spherical", "linear"])
def test_a_path_goes_from_one_molecule_to_the_other_and_says_where_it_is(run, way):
    request = InterpolateRequest(start="OCC", end="c1ccccc1N", points=6, way=way)
    rows = run(request, points(request), "interpolate")
    assert [row["position"] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert rows[0]["string"] == "CCO" and rows[-1]["smiles"] == "Nc1ccccc1"
    assert rows[0]["similarity_to_start"] == rows[-1]["similarity_to_end"] == 1
    assert rows[0]["similarity_to_end"] == rows[-1]["similarity_to_start"] < 1
    assert [row["n_tokens"] for row in rows] == [3, 4, 5, 7, 8, 9]
    for row in rows:
        assert row["passed"] == row["valid"] == (row["similarity_to_start"] is not None)
    assert run(request, [Item(2, 3)], "interpolate") == [rows[2]]


@pytest.mark.parametrize(
    ("ends", "pointer", "said"),
    [
        ({"start": "CBr", "end": "C"}, "/start", "'Br'"),
        ({"start": "C", "end": "C1CC"}, "/end", "not a SMILES"),
        ({"start": "C", "end": "C" * 21}, "/end", "21 tokens"),
    ],
)
def test_an_end_that_the_model_cannot_take_is_a_problem_with_a_pointer(run, card, ends, pointer, said):
    request = InterpolateRequest(**ends)
    with pytest.raises(Validation, match=said) as found:
        run(request, points(request), "interpolate")
    assert found.value.extensions["errors"][0]["pointer"] == pointer
    request.check_model(card, Settings())  # their canonical form is not known at the door
    if pointer == "/end" and "1" in ends["end"]:
        return
    with pytest.raises(Validation, match=said) as found:
        InterpolateRequest(**ends, canonical=False).check_model(card, Settings())
    assert found.value.extensions["errors"][0]["pointer"] == pointer


def test_ends_that_are_no_tokens_at_all_are_refused_at_the_door(card):
    with pytest.raises(Validation, match="bracket") as found:
        InterpolateRequest(start="C[N", end="O]C").check_model(card, Settings())
    assert [error["pointer"] for error in found.value.extensions["errors"]] == ["/start", "/end"]
