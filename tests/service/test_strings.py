"""The shipped string models over REST: what a chemist asks of them, and what they refuse."""

from __future__ import annotations

import base64

import pytest

from tests.service.conftest import finished_job

LIBRARY = [
    "Cc1ccc(NC(=O)c2ccco2)cc1", "O=C(Nc1ccccc1)C1CCCN1", "COc1ccc(CN2CCOCC2)cc1F", "CC(C)NC(=O)c1cccs1",
    "N#Cc1ccc(Cl)nc1N1CCCC1", "O=S(=O)(NC1CC1)c1ccccc1Br", "[Fe+2]", "CCn1nccc1C(=O)NCc1cccnc1",
]  # fmt: skip
"""Drug-like molecules, and one without a code."""


def done(http, model, capability, body):
    return finished_job(http, f"/v1/models/{model}/{capability}", body)


COMPLETING = ["ardm-smiles", "multinomial-smiles"]
MODELS = [*COMPLETING, "argmax-flow-smiles"]


@pytest.mark.parametrize("model", MODELS)
def test_molecules_are_drawn_until_enough_are_valid_and_the_same_seed_draws_them_again(http, model):
    body = {
        "n_molecules": 4, "until_valid": True, "max_attempts": 400, "temperature": 0.6, "seed": 1,
        "n_tokens": [15, 30], "filters": {"unique": True},
    }  # fmt: skip
    (job, rows), (_, again) = done(http, model, "sample", body), done(http, model, "sample", body)
    accepted = [row["smiles"] for row in rows if row["accepted"]]
    assert len(accepted) == len(set(accepted)) == 4
    assert [row["string"] for row in rows] == [row["string"] for row in again]
    lines = http.get(f"{job['links']['self']}/files/molecules.smi").text.split()
    assert set(accepted) <= set(lines)


@pytest.mark.parametrize("model", MODELS)
def test_a_drug_is_likelier_than_the_same_tokens_shuffled_and_strange_strings_say_why(http, model):
    drug, shuffled = "CC(=O)Nc1ccc(O)cc1", "CC(=O)Nc1ccc(c)Oc1"
    texts = [drug, shuffled, "C[Si](C)C", "C" * 80]
    body = {"molecules": {"smiles": texts}, "canonical": False, "draws": 2, "seed": 1}
    _, (good, odd, unknown, long) = done(http, model, "score", body)
    assert good["bits"] + 10 < odd["bits"] and good["kind"] == "lower_bound"
    if model in COMPLETING:
        assert sum(token["bits"] for token in good["tokens"]) < good["bits"]
    assert unknown["reasons"][0]["code"] == "unknown-token" and long["reasons"][0]["code"] == "too-long"


@pytest.mark.parametrize("model", MODELS)
def test_a_chiral_molecule_is_scored_without_its_stereo_and_the_row_says_so(http, model):
    body = {"molecules": {"smiles": ["C[C@H](N)C(=O)Nc1ccccc1", "CC(N)C(=O)Nc1ccccc1"]}, "draws": 1}
    _, (chiral, flat) = done(http, model, "score", body)
    assert chiral["stereo_ignored"] and not flat["stereo_ignored"]
    assert chiral["string"] == flat["string"] and chiral["n_tokens"] == flat["n_tokens"]


@pytest.mark.parametrize("model", COMPLETING)
def test_scaffolds_are_decorated_and_fragments_linked(http, model):
    body = {
        "templates": ["O=C([*:1])Nc1ccc(?)cc1", "c1ccccc1{2-5}c1ccncc1"], "n_completions": 8,
        "gap_tokens": [2, 8], "seed": 2,
    }  # fmt: skip
    _, rows = done(http, model, "infill", body)
    decorated, linked = rows[:8], rows[8:]
    assert all(row["string"].startswith("O=C(") and row["template_number"] == 0 for row in decorated)
    assert all(row["string"] == "c1ccccc1" + row["filled"] + "c1ccncc1" for row in linked)
    assert any(row["valid"] for row in decorated) and any(row["valid"] for row in linked)


def test_a_broken_string_is_repaired_by_few_edits_and_a_whole_one_comes_back(http):
    broken, whole = "Cc1ccc(NC(=O)c2ccco2cc1", "CC(=O)Nc1ccc(O)cc1"
    body = {"molecules": {"smiles": [broken, whole]}, "n_repairs": 5, "seed": 1}
    _, (mended, same) = done(http, "multinomial-smiles", "repair", body)
    assert mended["valid"] and not mended["was_valid"] and 1 <= mended["edits"] <= 2
    scores = [repair["score"] for repair in mended["repairs"]]
    assert scores and scores == sorted(scores, reverse=True)
    assert same["was_valid"] and same["string"] == whole


def test_little_noise_changes_a_molecule_less_than_much(http):
    parent = "COc1ccc(CN2CCOCC2)cc1F"
    means = []
    for noise in (0.1, 0.9):
        body = {"molecules": {"smiles": [parent]}, "noise": noise, "n_variants": 16, "seed": 1}
        _, (row,) = done(http, "multinomial-smiles", "vary", body)
        found = [variant["tanimoto"] for variant in row["variants"] if variant["valid"]]
        means.append(sum(found) / len(found))
    assert means[0] > means[1] + 0.2


def test_a_path_begins_and_ends_at_its_molecules(http):
    start, end = "Cc1ccc(NC(=O)c2ccco2)cc1", "COc1ccc(CN2CCOCC2)cc1"
    body = {"start": start, "end": end, "points": 5, "seed": 1}
    _, rows = done(http, "argmax-flow-smiles", "interpolate", body)
    assert (rows[0]["string"], rows[-1]["string"]) == (start, end)
    assert [row["position"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]


def compressed(http, model):
    """The file of a compressed library."""
    job, rows = done(http, model, "compress", {"molecules": {"smiles": LIBRARY}, "block": 4})
    assert [row["raw"] for row in rows] == [text == "[Fe+2]" for text in LIBRARY]
    return http.get(f"{job['links']['self']}/files/library.eqm").content


@pytest.fixture(scope="module")
def library(service):
    """A compressed library of the shipped ardm-smiles."""
    import httpx

    with httpx.Client(base_url=service.url, timeout=100) as http:
        return compressed(http, "ardm-smiles")


@pytest.mark.parametrize("model", ["ardm-smiles", "left-to-right-smiles"])
def test_a_library_survives_and_single_molecules_are_found(http, library, model):
    found = library if model == "ardm-smiles" else compressed(http, model)
    text = base64.b64encode(found).decode()
    _, rows = done(http, model, "decompress", {"library": text})
    assert [row["string"] for row in rows] == LIBRARY
    _, rows = done(http, model, "decompress", {"library": text, "numbers": [5, 1]})
    assert [row["string"] for row in rows] == [LIBRARY[5], LIBRARY[1]]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-4], "cut short or altered"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "cut short or altered"),
        (lambda data: data[:10] + bytes([data[10] ^ 1]) + data[11:], "compressed with the weights"),
        (lambda data: data[:20], "cut short"),
        (lambda data: b"PK" + data, "no compressed library"),
    ],
)
def test_a_cut_an_altered_and_a_foreign_library_are_refused(http, library, damage, says):
    body = {"library": base64.b64encode(damage(library)).decode()}
    answer = http.post("/v1/models/ardm-smiles/decompress", json=body)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"] and answer.json()["errors"][0]["pointer"] == "/library"


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("ardm-smiles/compress", {"molecules": {"smiles": []}}, "/molecules/smiles"),
        ("ardm-smiles/decompress", {"library": ""}, "/library"),
        ("ardm-smiles/infill", {"templates": ["C*", "C[Si]*"]}, "/templates/1"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_pointer(http, path, body, pointer):
    answer = http.post(f"/v1/models/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
