"""Whatever is wrong with a request is answered with a problem document, and harms nothing else."""

import json
import time

import pytest

SAMPLE = "/v1/models/toy-molecules/sample"
SCORE = "/v1/models/toy-molecules/score"
WATER_SDF = """water
  by hand

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.1170 O   0  0
    0.0000    0.7570   -0.4710 H   0  0
    0.0000   -0.7570   -0.4710 H   0  0
  1  2  1  0
  1  3  1  0
M  END
$$$$
"""
WATER_XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.471\nH 0.000 -0.757 -0.471\n"


def problem(answer, status, kind):
    """The problem document of an answer, checked to be a good one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert len(document["detail"]) > 10
    return document


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"n_molecule": 3}, "/n_molecule"),
        ({"n_molecules": 10**9}, "/n_molecules"),
        ({"n_molecules": 0}, "/n_molecules"),
        ({"n_molecules": "many"}, "/n_molecules"),
        ({"n_atoms": -4}, "/n_atoms"),
        ({"n_atoms": 500}, "/n_atoms"),
        ({"seed": 2**70}, "/seed"),
        ({"seed": 1.5}, "/seed"),
        ({"filters": {"pretty": True}}, "/filters/pretty"),
        ({"labels": {"a": "b\n"}}, "/labels/a"),
    ],
)
def test_a_faulty_field_is_pointed_at(http, body, pointer):
    document = problem(http.post(SAMPLE, json=body), 422, "validation")
    assert [error["pointer"] for error in document["errors"]] == [pointer]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b'{"seed": NaN}', b"[" * 100_000, b"\x00\xff", b'{"seed": 1} trailing'],
)
def test_a_body_that_is_no_request_is_refused(http, body):
    problem(http.post(SAMPLE, content=body, headers={"Content-Type": "application/json"}), 422, "validation")


def test_a_job_that_costs_too_much_is_refused_before_it_is_stored(http):
    document = problem(http.post(SAMPLE, json={"n_molecules": 10_000, "steps": 5000}), 413, "too-large")
    assert "evaluations" in document["detail"]


@pytest.mark.parametrize(
    ("molecules", "status", "kind"),
    [
        ({}, 422, "validation"),
        ({"sdf": ""}, 422, "validation"),
        ({"sdf": "\n\n"}, 422, "bad-structure"),
        ({"smiles": []}, 422, "validation"),
        ({"smiles": ["C"], "xyz": WATER_XYZ}, 422, "validation"),
        ({"structures": [{"numbers": [], "positions": []}]}, 422, "validation"),
        ({"structures": [{"numbers": [1, 1], "positions": [[0, 0, 0]]}]}, 422, "validation"),
        ({"structures": [{"numbers": [300], "positions": [[0, 0, 0]]}]}, 422, "validation"),
        ({"job": "0" * 26}, 404, "not-found"),
        ({"job": "../../etc/passwd"}, 422, "validation"),
        ({"pdb": "ATOM"}, 422, "validation"),
    ],
)
def test_molecules_that_are_none_are_refused(http, molecules, status, kind):
    problem(http.post(SCORE, json={"molecules": molecules}), status, kind)


def test_coordinates_that_are_no_numbers_are_refused_in_json(http):
    body = b'{"molecules": {"structures": [{"numbers": [1], "positions": [[0, 0, NaN]]}]}}'
    problem(http.post(SCORE, content=body, headers={"Content-Type": "application/json"}), 422, "validation")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WATER_SDF.replace("M  END\n", "").replace("  1  3  1  0\n", ""), "bad-record"),
        (WATER_SDF.replace("0.7570", "   nan"), "bad-record"),
        (WATER_SDF.replace(" O ", " Qq"), "unknown-element"),
    ],
)
def test_a_bad_molecule_spoils_only_its_own_row(http, text, why):
    """Truncated, without numbers, of an unknown element: between two good ones."""
    body = {"molecules": {"sdf": WATER_SDF + text.rstrip("$\n") + "\n$$$$\n" + WATER_SDF}}
    answer = http.post("/v1/validate", json=body, headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "succeeded"
    rows = http.get(answer.json()["links"]["molecules"]).json()["items"]
    assert [row["valid"] for row in rows] == [True, False, True]
    assert rows[1]["reasons"][0]["code"] == why, rows[1]


def test_a_declared_body_over_the_limit_is_refused_at_once(http):
    begun = time.monotonic()
    document = problem(http.post(SCORE, content=b" " * 200_000_000), 413, "too-large")
    assert document["limit_bytes"] == 2_000_000
    assert time.monotonic() - begun < 10


def test_a_chunked_body_over_the_limit_is_counted_and_refused(http):

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.sdf"\r\n\r\n'
        for _ in range(400):
            yield b" " * 100_000

    for kind in ("application/json", "multipart/form-data; boundary=x", "chemical/x-mdl-sdfile"):
        problem(http.post(SCORE, content=endless(), headers={"Content-Type": kind}), 413, "too-large")


def test_a_content_type_that_is_not_read_is_named(http):
    document = problem(
        http.post(SCORE, content=b"HETATM", headers={"Content-Type": "chemical/x-pdb"}),
        415,
        "unsupported-type",
    )
    assert "chemical/x-mdl-sdfile" in document["detail"]
    kinds = {"Content-Type": "application/x-www-form-urlencoded"}
    problem(http.post(SAMPLE, content=b"n_molecules=3", headers=kinds), 415, "unsupported-type")


def test_unknown_things_are_not_found_and_what_exists_is_named(http):
    assert "toy-molecules" in problem(http.get("/v1/models/nothing"), 404, "not-found")["detail"]
    assert (
        "toy-molecules"
        in problem(http.post("/v1/models/nothing/sample", json={}), 404, "not-found")["detail"]
    )
    assert "score" in problem(http.post("/v1/models/toy-molecules/fold", json={}), 404, "not-found")["detail"]
    problem(http.get("/v1/jobs/none"), 404, "not-found")
    problem(http.get("/v1/jobs/..%2f..%2fetc"), 404, "not-found")
    problem(http.get("/nothing/here"), 404, "not-found")


def test_a_wrong_method_is_told_what_works(http):
    answer = http.put("/v1/models")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=sleeping", "label=alone"])
def test_a_faulty_parameter_is_named(http, query):
    document = problem(http.get(f"/v1/jobs?{query}"), 422, "validation")
    assert document["errors"][0]["parameter"] == query.partition("=")[0]


def test_a_foreign_cursor_is_refused_or_harmless(http, finished):
    problem(http.get(f"{finished['links']['molecules']}?cursor=nonsense"), 422, "validation")
    assert http.get("/v1/jobs?cursor=nonsense").status_code == 200


def test_every_problem_type_can_be_opened_and_is_described(http):
    for entry in http.get("/problems").json()["items"]:
        page = http.get(entry["type"]).json()
        assert page["title"] and page["description"].endswith("."), page
    problem(http.get("/problems/nothing"), 404, "not-found")


@pytest.mark.slow
def test_a_molecule_on_which_bond_perception_hangs_gets_a_reason_and_harms_no_other(http, ended):
    """A cage of nitrogens and phosphorus on which RDKit's bond orders do not end in reasonable time."""
    atoms = "".join(
        f"{'N' if i % 2 else 'P'} {1.7 * (i % 4)} {1.7 * (i // 4 % 4)} {1.7 * (i // 16)}\n" for i in range(48)
    )
    text = WATER_XYZ + f"48\nhard\n{atoms}" + WATER_XYZ
    slow = http.post("/v1/validate", json={"molecules": {"xyz": text}, "bond_rule": "rdkit"}).json()
    job = ended(slow, timeout=200)
    assert job["status"] == "succeeded"
    rows = http.get(job["links"]["molecules"]).json()["items"]
    assert [rows[0]["valid"], rows[2]["valid"]] == [True, True]
    assert not rows[1]["valid"]
    assert rows[1]["reasons"]


def test_after_all_that_the_service_still_works(http):
    answer = http.post("/v1/validate", json={"molecules": {"smiles": ["CCO"]}}, headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "succeeded", json.dumps(answer.json())
