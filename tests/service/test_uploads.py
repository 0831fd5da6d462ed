"""Molecules come in as JSON, as an uploaded file, or as the body itself; the result is the same."""

import json

import pytest

SCORE = "/v1/models/toy-molecules/score"
XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.471\nH 0.000 -0.757 -0.471\n"


def rows(http, answer):
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "succeeded", answer.text
    return http.get(answer.json()["links"]["molecules"]).json()["items"]


WAIT = {"Prefer": "wait=30"}


@pytest.fixture
def wanted(http):
    answer = http.post(SCORE, json={"molecules": {"xyz": XYZ}, "draws": 8}, headers=WAIT)
    return [row["inchikey"] for row in rows(http, answer)]


def test_a_file_with_a_json_part(http, wanted):
    files = {"file": ("water.xyz", XYZ), "request": (None, json.dumps({"draws": 8}), "application/json")}
    answer = http.post(SCORE, files=files, headers=WAIT)
    assert answer.json()["request"]["draws"] == 8
    assert [row["inchikey"] for row in rows(http, answer)] == wanted


def test_a_file_alone_asks_for_the_defaults(http, wanted):
    answer = http.post(SCORE, files={"file": ("water.xyz", XYZ)}, headers=WAIT)
    assert [row["inchikey"] for row in rows(http, answer)] == wanted


def test_a_bare_body_with_parameters_in_the_query(http, wanted):
    headers = WAIT | {"Content-Type": "chemical/x-xyz"}
    answer = http.post(f"{SCORE}?draws=8&labels.from=query", content=XYZ, headers=headers)
    assert answer.json()["request"]["draws"] == 8
    assert answer.json()["labels"] == {"from": "query"}
    assert [row["inchikey"] for row in rows(http, answer)] == wanted


def test_structures_as_numbers(http, wanted):
    structure = {"numbers": [8, 1, 1], "positions": [[0, 0, 0.117], [0, 0.757, -0.471], [0, -0.757, -0.471]]}
    answer = http.post(SCORE, json={"molecules": {"structures": [structure]}}, headers=WAIT)
    assert [row["inchikey"] for row in rows(http, answer)] == wanted


def test_smiles_lines(http, wanted):
    headers = WAIT | {"Content-Type": "chemical/x-daylight-smiles"}
    assert [row["inchikey"] for row in rows(http, http.post(SCORE, content="O\n", headers=headers))] == wanted


def test_the_molecules_of_a_finished_job(http, finished):
    answer = http.post(SCORE, json={"molecules": {"job": finished["id"]}}, headers=WAIT)
    scored = rows(http, answer)
    assert len(scored) == 20
    assert all(row["standard_error"] > 0 for row in scored if row["valid"])


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"molecule": ("water.xyz", XYZ)}, 422),
        ({"request": (None, "{}")}, 422),
        ({"file": ("water.docx", XYZ)}, 415),
        ({"file": ("water.xyz", XYZ), "request": (None, "{")}, 422),
        ({"file": ("water.xyz", XYZ), "request": (None, '{"drawz": 8}')}, 422),
        ([("file", ("a.xyz", XYZ)), ("file", ("b.xyz", XYZ))], 422),
    ],
)
def test_a_faulty_form_is_refused_with_a_reason(http, files, status):
    answer = http.post(SCORE, files=files)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10


def test_a_broken_form_is_refused_with_a_reason(http):
    headers = {"Content-Type": "multipart/form-data; boundary=abc"}
    answer = http.post(SCORE, content=b"--abc\r\nrubbish", headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_file_name_never_becomes_a_path(service, http):
    answer = http.post(SCORE, files={"file": ("../../../evil.xyz", XYZ)}, headers=WAIT)
    assert answer.status_code == 200
    names = [path.name for path in (service.folder / "data" / "results" / answer.json()["id"]).iterdir()]
    assert "input.xyz" in names
    assert not [name for name in names if "evil" in name]


def test_old_files_in_latin_1_are_read(http):
    data = XYZ.replace("water", "Wasser für alle").encode("latin-1")
    answer = http.post(SCORE, content=data, headers=WAIT | {"Content-Type": "chemical/x-xyz"})
    assert answer.json()["status"] == "succeeded"
