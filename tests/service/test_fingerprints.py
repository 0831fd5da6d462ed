"""Fingerprints over REST, from the request to the CSV, by the shipped model."""

from __future__ import annotations

import base64
import csv
import io

WAIT = {"Prefer": "wait=60"}


def test_scored_molecules_come_back_as_rows_and_as_a_table(http):
    body = {"molecules": {"smiles": ["CC1CC1O", "C1CC", "c1ccccc1I"]}, "fingerprint": "morgan", "seed": 1}
    answer = http.post("/v1/models/ddf-fingerprints/score", json=body, headers=WAIT, timeout=70)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["status"] == "succeeded"
    rows = http.get(job["links"]["molecules"]).json()["items"]
    assert [row["valid"] for row in rows] == [True, False, True]
    assert rows[0]["log_likelihood"] > rows[2]["log_likelihood"] and rows[0]["kind"] == "exact"
    table = http.get(f"{job['links']['self']}/files/scores.csv").text
    lines = list(csv.DictReader(io.StringIO(table)))
    assert float(lines[0]["log_likelihood"]) == rows[0]["log_likelihood"]
    assert float(lines[0]["baselines.chow_liu"]) < 0 and lines[1]["reasons"] == "bad-record"


def test_drawn_fingerprints_name_real_molecules(http):
    body = {"n_fingerprints": 3, "neighbours": 1, "seed": 4}
    answer = http.post("/v1/models/ddf-fingerprints/sample", json=body, headers=WAIT, timeout=70)
    job = answer.json()
    assert answer.status_code == 200 and job["status"] == "succeeded", answer.text
    rows = http.get(job["links"]["molecules"]).json()["items"]
    assert len(rows) == 3 and all(row["on"] and row["nearest"][0]["smiles"] for row in rows)


def test_a_library_of_fingerprints_goes_there_and_back(http):
    path = "/v1/models/ddf-fingerprints"
    body = {"molecules": {"smiles": ["CCO first", "c1ccncc1", "nothing"]}, "fingerprint": "morgan"}
    job = http.post(f"{path}/compress", json=body, headers=WAIT, timeout=70).json()
    assert job["status"] == "succeeded", job
    file = http.get(f"{job['links']['self']}/files/library.eqm").content
    given = {"library": base64.b64encode(file).decode()}
    job = http.post(f"{path}/decompress", json=given, headers=WAIT, timeout=70).json()
    rows = http.get(job["links"]["molecules"]).json()["items"]
    assert [bool(row["on"]) for row in rows] == [True, True, False] and rows[2]["string"] == "nothing"
    given["library"] = base64.b64encode(file[:-1]).decode()
    answer = http.post(f"{path}/decompress", json=given)
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/library"


def test_an_unknown_fingerprint_is_a_problem_that_names_the_field(http):
    body = {"molecules": {"smiles": ["CCO"]}, "fingerprint": "ecfp"}
    answer = http.post("/v1/models/ddf-fingerprints/score", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/fingerprint"
