"""Log-determinants through the whole service: matrices, molecules, and what cannot have one."""

import math

import numpy as np
import pytest

from tests.service.conftest import finished_job

ADDRESS = "/v1/models/vde/logdet"
FAST = {"samples": 500, "training_steps": 60, "batch": 64}


@pytest.fixture
def rows(http):
    """Post a request, wait, and return the rows of the job."""
    return lambda **body: finished_job(http, ADDRESS, {"seed": 1, **body})[1]


def spd(n, seed=0):
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a @ a.T + 0.5 * np.eye(n)


def test_four_methods_find_the_determinant_of_a_matrix_and_the_answer_says_that_exact_is_better(rows):
    matrix = spd(8)
    (row,) = rows(matrices=[matrix.tolist()], methods=["exact", "vde", "naive", "lanczos"], **FAST)
    truth = float(np.linalg.slogdet(matrix)[1])
    methods = row["methods"]
    assert row["form"] == "spd"
    assert row["log_abs_det"] == pytest.approx(truth, abs=1e-9)
    assert methods["exact"]["products"] == 8
    vde = methods["vde"]
    # five standard errors and the flow's own: less than one false alarm in a million
    assert vde["value"] == pytest.approx(truth, abs=5 * vde["standard_error"] + 0.02)
    assert vde["effective_samples"] > 400
    assert vde["products"] == 60 * 64 + 500
    assert vde["bound"]["kind"] == "upper_bound"
    assert methods["lanczos"]["value"] == pytest.approx(truth, abs=6 * methods["lanczos"]["standard_error"])
    assert "Exact Cholesky is the better choice" in row["advice"]
    assert row["recommended"] == "exact"


def test_a_general_matrix_has_a_sign_and_the_same_seed_gives_the_same_estimate(rows):
    matrix = np.random.default_rng(3).normal(size=(5, 5))
    first, second = (rows(matrices=[matrix.tolist()], **FAST)[0] for _ in range(2))
    assert first["methods"] == second["methods"]
    sign, log = np.linalg.slogdet(matrix)
    assert first["form"] == "general"
    assert first["sign"] * math.exp(first["log_abs_det"]) == pytest.approx(sign * math.exp(log), rel=1e-9)


def test_a_molecule_gets_entropy_and_isotope_ratios_that_fulfil_the_product_rule(rows):
    (row,) = rows(molecules={"smiles": ["O"]}, isotopes={"H": 2}, **FAST)
    assert row["source"] == "molecule"
    assert row["size"] == 3
    assert row["wavenumbers_per_cm"] == pytest.approx([1595, 3657, 3756], rel=0.05)
    isotopes = row["isotopes"]
    assert isotopes["log_det_difference"] == pytest.approx(isotopes["product_rule"], abs=1e-6)
    assert isotopes["ln_classical_partition_ratio"] == pytest.approx(-isotopes["product_rule"] / 2, abs=1e-6)
    assert isotopes["ln_reduced_partition_ratio"] > 1
    assert row["entropy"]["quantum_j_mol_k"] == pytest.approx(0.035, abs=0.02)  # stiff: next to nothing
    assert row["methods"]["vde"]["value"] == pytest.approx(row["log_abs_det"], abs=0.1)


def test_what_has_no_determinant_spoils_only_its_own_row_and_carries_a_problem_document(rows):
    good, bad = rows(matrices=[[[2.0]], [[1.0, 2.0], [2.0, 4.0]]])
    assert good["log_abs_det"] == pytest.approx(math.log(2))
    assert not bad["valid"]
    assert bad["problem"]["type"] == "/problems/bad-matrix"
    assert bad["problem"]["status"] == 422
    assert "singular" in bad["problem"]["detail"]
    (indefinite,) = rows(matrices=[[[1.0, 0.0], [0.0, -1.0]]], form="spd")
    assert "not positive definite" in indefinite["problem"]["detail"]


def test_a_molecule_without_parameters_is_a_problem_that_names_them(rows):
    (row,) = rows(molecules={"smiles": ["CB(C)C"]})
    assert not row["valid"]
    assert row["reasons"][0]["code"] == "no-parameters"
    assert "MMFF94 has no parameters" in row["problem"]["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"matrices": [[[1.0, 2.0], [3.0]]]}, "not square"),
        ({"matrices": [[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]]}, "not square"),
        ({"matrices": [[[]]]}, "at least 1"),
        ({}, "either matrices or molecules"),
        ({"matrices": [[[1.0]]], "molecules": {"smiles": ["O"]}}, "either matrices or molecules"),
        ({"matrices": [[[1.0]]], "isotopes": {"H": 2}}, "isotopes belong to molecules"),
        ({"matrices": [[[0.0] * 10]] * 10_000}, "at most 1000"),
        ({"matrices": [[[0.0]] * 10_000]}, "at most 256"),
    ],
)
def test_a_matrix_that_cannot_be_one_is_refused_at_the_door(http, body, words):
    answer = http.post(ADDRESS, json=body)
    assert answer.status_code == 422, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.text


def test_a_matrix_with_nan_is_refused_at_the_door(http):
    answer = http.post(
        ADDRESS, content='{"matrices": [[[NaN]]]}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/validation"


def test_ten_thousand_rows_are_too_large_before_anything_is_read(http):
    row = b"[" + b",".join([b"0"] * 10_000) + b"]"

    def body():
        yield b'{"matrices": [['
        for number in range(10_000):
            yield row if number == 0 else b"," + row
        yield b"]]}"

    answer = http.post(ADDRESS, content=body(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/too-large"


def test_many_large_matrices_are_too_large(http):
    matrix = np.eye(200).astype(int).tolist()
    answer = http.post(ADDRESS, json={"matrices": [matrix, matrix]})
    assert answer.status_code == 413
    assert "models.vde in Python" in answer.json()["detail"]


def test_the_card_has_no_weights_and_the_model_is_available(http):
    card = http.get("/v1/models/vde").json()
    assert card["available"]
    assert card["weights"] is None
    assert [*card["capabilities"]] == ["logdet"]
