"""Order-agnostic strings over REST: a small model of their own, because the laws hold whatever it has learned."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace

import httpx
import pytest
import torch

from models.ardm.model import ARDM
from models.core.library_file import Block, read, write
from models.weights import save_model
from tests.service.conftest import Service, finished_job, make_folder

TOKENS = ["C", "c", "N", "O", "(", ")", "1", "=", "n", "F"]
LIBRARY = ["CCO", "c1ccccc1O", "CC(=O)N", "[Fe]", "CCO", "notamolecule", "FC(F)F"]


@pytest.fixture(scope="module")
def strings():
    """A client of a service with two small models that differ in their weights alone, and a left-to-right one."""
    folder = make_folder()
    for name, seed in (("ardm-tiny", 0), ("ardm-other", 1), ("ordered-tiny", 2)):
        torch.manual_seed(seed)
        order = "left-to-right" if name == "ordered-tiny" else "any"
        config = {
            "tokens": TOKENS, "longest": 24, "lengths": {str(n): 1 for n in range(2, 21)}, "order": order,
            "network": {"width": 16, "layers": 1, "heads": 2, "hidden": 32, "ends": True},
        }  # fmt: skip
        abilities = ["sample", "score", "compress", "decompress"]
        card = {
            "id": name, "family": "ardm", "title": name, "config": config,
            "capabilities": abilities + ["infill"] * (order == "any"),
        }  # fmt: skip
        save_model(ARDM(config), card, folder / "weights")
    running = Service(folder, requests_per_minute=0)
    running.wait_for_worker()
    with httpx.Client(base_url=running.url, timeout=90) as client:
        yield client
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def done(client, capability, body, model="ardm-tiny"):
    return finished_job(client, f"/v1/models/{model}/{capability}", body)


@pytest.fixture(scope="module")
def library(strings):
    """A compressed library as base64, and what went into it."""
    lines = [*LIBRARY[:2], "CC(=O)N the third", *LIBRARY[3:]]
    job, rows = done(strings, "compress", {"molecules": {"smiles": lines}, "block": 3})
    data = strings.get(f"{job['links']['self']}/files/library.eqm").content
    assert [row["raw"] for row in rows] == [
        text in ("[Fe]", "notamolecule") or " " in text for text in LIBRARY
    ]
    return base64.b64encode(data).decode()


def test_drawn_strings_say_their_likelihood_and_the_same_seed_draws_them_again(strings):
    body = {"n_molecules": 12, "steps": 4, "n_tokens": [3, 9], "temperature": 0.8, "seed": 7}
    (_, first), (_, second) = done(strings, "sample", body), done(strings, "sample", body)
    assert [row["string"] for row in first] == [row["string"] for row in second]
    assert all(row["calls"] <= 4 and 3 <= row["n_tokens"] <= 9 and row["bits"] > 0 for row in first)
    assert all(row["valid"] == (row["smiles"] is not None) for row in first)


def test_a_score_tells_bits_with_an_error_and_every_token_s_surprisal(strings):
    body = {"molecules": {"smiles": ["OCC", "CCBr", "C1C", "CC" * 20]}, "draws": 8, "seed": 1}
    job, rows = done(strings, "score", body)
    good, strange, broken, long = rows
    assert good["smiles"] == "CCO" and good["kind"] == "lower_bound" and good["bits_standard_error"] > 0
    assert sum(t["bits"] for t in good["tokens"]) + good["length_bits"] == pytest.approx(good["bits"])
    assert [t["token"] for t in good["tokens"]] == ["C", "C", "O"]
    codes = [row["reasons"][0]["code"] for row in (strange, broken, long)]
    assert codes[0] == "unknown-token" and codes[2] == "too-long" and not broken["valid"]
    assert "bits_standard_error" in strings.get(f"{job['links']['self']}/files/scores.csv").text
    exact = done(strings, "score", body | {"order": "left-to-right"})[1][0]
    assert exact["kind"] == "exact" and exact["draws"] == 1


def test_completions_keep_what_was_given_and_say_their_probability(strings):
    body = {"templates": ["c1cc([*:1])ccc1", "CC?C"], "n_completions": 5, "gap_tokens": [2, 4], "seed": 3}
    _, rows = done(strings, "infill", body)
    assert len(rows) == 10
    for row in rows[:5]:
        assert (
            row["string"].startswith("c1cc(")
            and row["string"].endswith(")ccc1")
            and row["template_number"] == 0
        )
        assert row["filled"] == row["string"][5:-5] and 2 <= len(row["filled_places"]) <= 4
        assert 0 < row["probability"] <= 1
    assert all(row["string"][:2] == "CC" and len(row["filled_places"]) == 1 for row in rows[5:])


def test_a_library_is_decompressed_to_the_letter_whole_and_by_number(strings, library):
    _, rows = done(strings, "decompress", {"library": library})
    assert [row["string"] for row in rows] == LIBRARY
    assert [row["title"] for row in rows].count("") == 6 and rows[2]["title"] == "the third"
    _, chosen = done(strings, "decompress", {"library": library, "numbers": [6, 0, 3]})
    assert [row["string"] for row in chosen] == [LIBRARY[6], LIBRARY[0], LIBRARY[3]]


def test_a_left_to_right_model_draws_scores_and_compresses_and_takes_no_other_order(strings):
    model = "ordered-tiny"
    body = {"n_molecules": 12, "n_tokens": [3, 9], "temperature": 0.8, "seed": 7}
    (_, first), (_, second) = (done(strings, "sample", body, model) for _ in range(2))
    assert [row["string"] for row in first] == [row["string"] for row in second]
    assert all(row["calls"] == row["n_tokens"] for row in first)
    body = {"molecules": {"smiles": [row["string"] for row in first]}, "canonical": False}
    _, rows = done(strings, "score", body, model)
    for drawn, scored in zip(first, rows, strict=True):
        if drawn["valid"]:
            assert scored["kind"] == "exact" and scored["bits"] == pytest.approx(drawn["bits"], abs=1e-3)
    job, rows = done(strings, "compress", {"molecules": {"smiles": LIBRARY}, "block": 3}, model)
    data = strings.get(f"{job['links']['self']}/files/library.eqm").content
    _, back = done(strings, "decompress", {"library": base64.b64encode(data).decode()}, model)
    assert [row["string"] for row in back] == LIBRARY
    for capability, setting in (
        ("sample", {"n_molecules": 1, "steps": 4}),
        ("score", {"molecules": {"smiles": ["CCO"]}, "order": "random"}),
        ("compress", {"molecules": {"smiles": ["CCO"]}, "order": "right-to-left"}),
    ):
        answer = strings.post(f"/v1/models/{model}/{capability}", json=setting)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] in ("/steps", "/order")


def test_a_library_of_another_model_is_refused_and_says_so(strings, library):
    answer = strings.post("/v1/models/ardm-other/decompress", json={"library": library})
    assert answer.status_code == 422
    document = answer.json()
    assert document["errors"][0]["pointer"] == "/library" and "weights" in document["detail"]


@pytest.mark.parametrize("change", ["cut", "altered", "text", "number", "order", "empty", "huge"])
def test_a_damaged_library_is_a_problem_at_the_door(strings, library, change):
    data = bytearray(base64.b64decode(library))
    body = {"library": library}
    if change == "cut":
        body["library"] = base64.b64encode(data[:-3]).decode()
    elif change == "altered":
        data[-1] ^= 1
        body["library"] = base64.b64encode(bytes(data)).decode()
    elif change == "text":
        body["library"] = "this is no base64!"
    elif change == "number":
        body["numbers"] = [99]
    else:  # forged, so that the checksum fits
        forged = {
            "order": {"order": "upwards"},
            "empty": {"blocks": ()},
            "huge": {"blocks": (Block(10**9, b""),)},
        }
        body["library"] = base64.b64encode(write(replace(read(bytes(data)), **forged[change]))).decode()
    answer = strings.post("/v1/models/ardm-tiny/decompress", json=body)
    if change == "huge":
        assert answer.status_code == 413
        return
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    pointer = "/numbers" if change == "number" else "/library"
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("capability", "body", "pointer"),
    [
        ("infill", {"templates": ["CC*", "CCX*"]}, "/templates/1"),
        ("infill", {"templates": ["CCO"]}, "/templates/0"),
        ("infill", {"templates": ["C" * 24 + "*"]}, "/templates/0"),
        ("sample", {"n_tokens": 25}, "/n_tokens"),
        ("compress", {"molecules": {"smiles": []}}, "/molecules/smiles"),
        ("score", {"molecules": {"smiles": ["C"]}, "order": "upwards"}, "/order"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_pointer(strings, capability, body, pointer):
    answer = strings.post(f"/v1/models/ardm-tiny/{capability}", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


def test_every_capability_is_in_the_api_s_document(strings):
    paths = strings.get("/openapi.json").json()["paths"]
    for capability in ("sample", "score", "infill", "compress", "decompress"):
        assert f"/v1/models/ardm-tiny/{capability}" in paths


def test_the_command_line_compresses_a_file_and_reads_it_back(strings, equimol, tmp_path):
    (tmp_path / "given.smi").write_text("CCO first\nc1ccccc1O second\n", encoding="utf-8")
    url = str(strings.base_url)
    made = equimol("run", "ardm-tiny", "compress", "given.smi", "-o", "packed.eqm", url=url)
    assert made.returncode == 0 and (tmp_path / "packed.eqm").read_bytes().startswith(b"EQMLIB")
    read = equimol("run", "ardm-tiny", "decompress", "packed.eqm", "-o", "back.csv", url=url)
    assert read.returncode == 0
    lines = (tmp_path / "back.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[2:4] for line in lines[1:]] == [["first", "CCO"], ["second", "c1ccccc1O"]]
    assert equimol("run", "ardm-tiny", "decompress", "packed.eqm", "-o", "back.smi", url=url).returncode == 0
    assert (tmp_path / "back.smi").read_bytes() == (tmp_path / "given.smi").read_bytes()
