"""Argmax flows over REST: a small model, because the laws hold whatever it has learned."""

from __future__ import annotations

import shutil

import httpx
import pytest
import torch

from models.argmax_flow.model import ArgmaxFlow
from models.weights import save_model
from tests.service.conftest import Service, finished_job, make_folder

WAIT = {"Prefer": "wait=60"}
CONFIG = {
    "tokens": ["C", "c", "N", "O", "(", ")", "1", "=", "n", "F"],
    "longest": 24,
    "lengths": {str(n): 1 for n in range(2, 21)},
    "base": 2,
    "posterior": {"kind": "softplus"},
    "flow": {
        "kind": "autoregressive",
        "bins": 4,
        "hidden": 16,
        "network": {"width": 16, "layers": 1, "heads": 2, "hidden": 32},
    },
}
URL = "/v1/models/flow-tiny"


@pytest.fixture(scope="module")
def flow():
    """A client of a service with one small model."""
    folder = make_folder()
    card = {
        "id": "flow-tiny", "family": "argmax_flow", "title": "flow-tiny", "config": CONFIG,
        "capabilities": ["sample", "score", "interpolate"],
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_model(ArgmaxFlow(CONFIG), card, folder / "weights")
    running = Service(folder, requests_per_minute=0)
    running.wait_for_worker()
    with httpx.Client(base_url=running.url, timeout=90) as client:
        yield client
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def done(client, capability, body):
    return finished_job(client, f"{URL}/{capability}", body)


def test_drawn_strings_have_the_lengths_asked_for_and_the_same_seed_draws_them_again(flow):
    body = {"n_molecules": 10, "n_tokens": [3, 9], "temperature": 0.8, "seed": 7}
    (_, first), (_, second) = done(flow, "sample", body), done(flow, "sample", body)
    assert [row["string"] for row in first] == [row["string"] for row in second]
    assert all(3 <= row["n_tokens"] <= 9 and row["valid"] == (row["smiles"] is not None) for row in first)


def test_candidates_are_drawn_until_enough_are_valid(flow):
    body = {"n_molecules": 2, "n_tokens": [2, 3], "until_valid": True, "max_attempts": 400, "seed": 1}
    job, rows = done(flow, "sample", body)
    assert sum(row["accepted"] for row in rows) == 2 and all(row["valid"] for row in rows if row["accepted"])
    assert len(flow.get(f"{job['links']['self']}/files/molecules.smi").text.splitlines()) == 2


def test_a_score_is_a_bound_in_nats_and_bits_with_an_error(flow):
    body = {"molecules": {"smiles": ["OCC", "CCBr", "C1C", "CC" * 20]}, "draws": 32, "seed": 1}
    job, (good, strange, broken, long) = done(flow, "score", body)
    assert good["smiles"] == "CCO" and good["kind"] == "lower_bound" and good["draws"] == 32
    assert good["bits"] == pytest.approx(-good["log_likelihood"] / 0.69314718, rel=1e-6)
    assert good["bits_standard_error"] > 0 and good["terms"]["weighting"] > 0
    codes = [row["reasons"][0]["code"] for row in (strange, long)]
    assert codes == ["unknown-token", "too-long"] and not broken["valid"]
    assert "bits_standard_error" in flow.get(f"{job['links']['self']}/files/scores.csv").text


def test_a_path_is_a_table_of_positions_validity_and_similarities(flow):
    job, rows = done(flow, "interpolate", {"start": "CCO", "end": "Nc1ccccc1", "points": 5, "seed": 4})
    assert [row["position"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert rows[0]["smiles"] == "CCO" and rows[-1]["smiles"] == "Nc1ccccc1"
    assert rows[0]["similarity_to_start"] == 1 and rows[-1]["similarity_to_end"] == 1
    table = flow.get(f"{job['links']['self']}/files/path.csv").text.splitlines()
    assert table[0].startswith("index,position,smiles") and len(table) == 6


@pytest.mark.parametrize(
    ("ends", "pointer"),
    [({"start": "CCBr", "end": "C"}, "/start"), ({"start": "C", "end": "C" * 30}, "/end"),
     ({"start": "C", "end": "notamolecule"}, "/end")],
)  # fmt: skip
def test_an_end_that_the_worker_cannot_read_fails_the_job_with_a_problem_document(flow, ends, pointer):
    job = flow.post(f"{URL}/interpolate", json=ends, headers=WAIT).json()
    assert job["status"] == "failed"
    problem = job["problem"]
    assert problem["type"].endswith("validation") and problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("capability", "body", "pointer"),
    [
        ("interpolate", {"start": "CC[N", "end": "C"}, "/start"),
        ("interpolate", {"start": "C", "end": "CBr", "canonical": False}, "/end"),
        ("interpolate", {"start": "C"}, "/end"),
        ("interpolate", {"start": "C", "end": "N", "points": 1}, "/points"),
        ("sample", {"n_tokens": 25}, "/n_tokens"),
        ("sample", {"temperature": -1}, "/temperature"),
        ("score", {"molecules": {"smiles": ["C"]}, "draws": 0}, "/draws"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_pointer(flow, capability, body, pointer):
    answer = flow.post(f"{URL}/{capability}", json=body)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


def test_every_capability_is_in_the_api_s_document(flow):
    paths = flow.get("/openapi.json").json()["paths"]
    assert {f"{URL}/{name}" for name in ("sample", "score", "interpolate")} <= set(paths)


def test_the_command_line_walks_a_path(flow, equimol, tmp_path):
    (tmp_path / "path.json").write_text('{"start": "CCO", "end": "CCN", "points": 3}', encoding="utf-8")
    made = equimol("run", "flow-tiny", "interpolate", "path.json", "-o", "path.csv", url=str(flow.base_url))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "path.csv").read_text(encoding="utf-8").splitlines()[0].startswith("index,position")
