"""Fingerprint densities behind the seam, with the shipped weights."""

from __future__ import annotations

import base64
import math

import pytest

from models.core.library_file import Block, Library, write
from workers.adapters.base import Item
from workers.cards import builtin_folder, load_card
from workers.problems import Validation
from workers.schemas.ddf import CompressRequest, DecompressRequest, SampleRequest, ScoreRequest
from workers.settings import Settings


@pytest.fixture(scope="session")
def ddf_card():
    return load_card(builtin_folder() / "ddf-fingerprints.json")


@pytest.fixture
def run(run_rows, ddf_card):
    return lambda request, items, capability: run_rows("ddf", ddf_card, capability, request, items)


def given(*texts, form="smiles"):
    return [Item(k, 1, text.encode(), form) for k, text in enumerate(texts)]


def score_request(**fields):
    return ScoreRequest(molecules={"smiles": ["C"]}, **fields)


@pytest.mark.parametrize("kind", ["maccs", "morgan"])
def test_a_usual_molecule_is_likelier_than_a_strange_one_and_only_the_graph_counts(run, kind):
    rows = run(
        score_request(fingerprint=kind, neighbours=2),
        given("OCC1CCCO1", "C1CC(OC1)CO", "FC(F)(F)c1ccc2nc(S(=O)(=O)Cl)sc2c1I named", "C1CC"),
        "score",
    )
    usual, same, strange, broken = rows
    assert usual["log_likelihood"] == same["log_likelihood"] and usual["smiles"] == same["smiles"]
    assert usual["kind"] == "exact" and usual["in_domain"] and not usual["reasons"]
    assert usual["bits_per_bit"] == pytest.approx(
        -usual["log_likelihood"] / math.log(2) / (166 if kind == "maccs" else 256)
    )
    assert strange["title"] == "named" and not strange["in_domain"] and strange["percentile"] < 1
    assert strange["reasons"][0]["code"] == "outside-molecule"
    assert strange["log_likelihood"] < usual["log_likelihood"] - 20
    assert not broken["valid"] and broken["reasons"][0]["code"] == "bad-record"
    near = usual["nearest"]
    assert len(near) == 2 and 1 >= near[0]["tanimoto"] >= near[1]["tanimoto"] > strange["nearest_tanimoto"]


def test_coordinates_are_read_for_their_bonds_alone(run):
    xyz = "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
    from_xyz = run(score_request(), given(xyz, form="xyz"), "score")[0]
    from_smiles = run(score_request(), given("O"), "score")[0]
    assert from_xyz["smiles"] == "O"
    assert from_xyz["log_likelihood"] == from_smiles["log_likelihood"]


def test_a_fingerprint_is_the_same_alone_and_in_any_batch_and_carries_its_own_probability(run, ddf_card):
    import torch

    from models.weights import load_model

    request = SampleRequest(n_fingerprints=6)
    together = run(request, [Item(k, 9) for k in range(6)], "sample")
    assert run(request, [Item(4, 9)], "sample")[0] == together[4]
    assert len({tuple(row["on"]) for row in together}) == 6
    model = load_model(ddf_card.model_dump(), ddf_card.weights_path).double()
    for row in together:
        bits = torch.zeros(1, 166, dtype=torch.uint8)
        bits[0, torch.tensor(row["on"]) - 1] = 1
        assert float(model.log_prob("maccs", bits)) == pytest.approx(row["log_likelihood"], abs=1e-9)


def test_an_unknown_fingerprint_of_a_model_is_pointed_at(ddf_card):
    card = ddf_card.model_copy(update={"config": {"kinds": {"maccs": {}}}})
    with pytest.raises(Validation, match="morgan") as found:
        SampleRequest(fingerprint="morgan").check_model(card, Settings())
    assert found.value.extensions["errors"][0]["pointer"] == "/fingerprint"


LIBRARY = ("OCC1CCCO1 first", "CC(=O)Nc1ccc(O)cc1", "no molecule", "c1ccncc1", "CCO", "FC(F)F")


@pytest.mark.parametrize("kind", ["maccs", "morgan"])
def test_a_library_of_fingerprints_comes_back_whole_and_by_number(run, ddf_card, kind):
    request = CompressRequest(molecules={"smiles": ["C"]}, fingerprint=kind, block=2)
    rows = run(request, given(*LIBRARY), "compress")
    assert [row["raw"] for row in rows] == [text == "no molecule" for text in LIBRARY]
    assert [row.get("code_molecules") for row in rows] == [2, None, 2, None, 2, None]
    indexed = [row | {"index": k} for k, row in enumerate(rows)]
    file = base64.b64encode(request.produce(indexed, ddf_card.weights.sha256)).decode()
    for numbers in (None, [5, 2, 0]):
        wanted = DecompressRequest(library=file, numbers=numbers)
        wanted.check_model(ddf_card, Settings())
        back = run(wanted, [Item(k, 1) for k in range(wanted.item_count())], "decompress")
        chosen = numbers or range(6)
        assert [row["bits_on"] for row in back] == [rows[k].get("bits_on") for k in chosen]
        assert [row["string"] for row in back] == ["no molecule" if k == 2 else None for k in chosen]
        assert back[-1 if numbers else 0]["title"] == "first" and back[0]["fingerprint"] == kind
    single = run(score_request(fingerprint=kind), given("CCO"), "score")[0]
    cost = rows[4]["bits"]
    assert cost == pytest.approx(-single["log_likelihood"] / math.log(2), abs=4)


def test_a_library_of_another_density_is_refused(ddf_card):
    forged = write(Library(ddf_card.weights.sha256, "left-to-right", 0, (Block(1, b""),)))
    with pytest.raises(Validation, match="not known here"):
        DecompressRequest(library=base64.b64encode(forged).decode()).check_model(ddf_card, Settings())
