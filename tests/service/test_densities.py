"""Densities of descriptors and the plausibility report over REST, by the shipped models."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from tests.service.conftest import finished_job

MODELS = ("survae-descriptors", "selfnorm-descriptors")


@pytest.mark.parametrize("model", MODELS)
def test_scores_have_a_kind_and_a_percentile_and_tell_the_unlike(http, model):
    """A QM9-like ether stands above a drug of 30 heavy atoms; a line that is no molecule spoils only its row."""
    smiles = ["CC1CC1CO", "no-molecule", "CC(C)Cc1ccc(cc1)C(C)C(=O)Nc1ccc(cc1)S(=O)(=O)N1CCN(C)CC1"]
    job, rows = finished_job(http, f"/v1/models/{model}/score", {"molecules": {"smiles": smiles}, "seed": 1})
    assert [row["valid"] for row in rows] == [True, False, True]
    assert rows[0]["kind"] == ("exact" if model.startswith("selfnorm") else "lower_bound")
    assert rows[0]["percentile"] > 1 and rows[0]["in_domain"]
    assert rows[2]["percentile"] < 1 and not rows[2]["in_domain"]
    assert rows[2]["reasons"][0]["code"] == "outside-density"
    table = list(csv.DictReader(io.StringIO(http.get(f"{job['links']['self']}/files/scores.csv").text)))
    assert float(table[0]["log_likelihood"]) == rows[0]["log_likelihood"]


def test_rows_are_drawn_under_conditions(http):
    conditions = {"rings": 2, "logp": {"low": 0.0, "high": 1.0}, "charge": "neutral"}
    body = {"n_rows": 4, "conditions": conditions, "particles": 32, "seed": 3}
    _, rows = finished_job(http, "/v1/models/survae-descriptors/sample", body)
    for row in rows:
        found = row["descriptors"]
        assert found["rings"] == 2 and found["charge"] == "neutral"
        assert -1e-3 <= found["logp"] <= 1.001 and row["effective_sample_size"] >= 1


@pytest.mark.parametrize(
    ("conditions", "pointer"),
    [
        ({"mass": 3}, "/conditions/mass"),
        ({"rings": 1.5}, "/conditions/rings"),
        ({"charge": "odd"}, "/conditions/charge"),
        ({"logp": "high"}, "/conditions/logp"),
    ],
)
def test_a_condition_that_makes_no_sense_is_pointed_at(http, conditions, pointer):
    answer = http.post("/v1/models/survae-descriptors/sample", json={"conditions": conditions})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_vectors_are_drawn(http):
    _, rows = finished_job(http, "/v1/models/selfnorm-descriptors/sample", {"n_rows": 2, "seed": 3})
    assert all(row["kind"] == "exact" and len(row["vector"]) > 100 for row in rows)


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_the_report_has_every_score_with_its_kind_as_rows_and_on_one_page(http):
    body = {
        "molecules": {"smiles": ["CC1CC1CO <b>ether</b>", "no-molecule"]},
        "models": list(MODELS),
        "seed": 1,
    }
    job, rows = finished_job(http, "/v1/report", body)
    scores = {score["model"]: score for score in rows[0]["scores"]}
    assert set(scores) == set(MODELS)
    assert scores["survae-descriptors"]["kind"] == "lower_bound"
    assert scores["survae-descriptors"]["standard_error"] > 0
    assert scores["selfnorm-descriptors"]["kind"] == "exact"
    assert rows[0]["lowest_percentile"] == min(score["percentile"] for score in scores.values())
    assert rows[1]["reasons"] and not rows[1]["scores"]
    answer = http.get(f"{job['links']['self']}/files/report.html")
    assert answer.headers["content-type"].startswith("text/html")
    seen = Seen()
    seen.feed(answer.text)
    # A bar for each score, where all molecules stand, and molecule by molecule.
    assert seen.tags.count("svg") == 2 + 2 and not {"script", "img", "link"} & set(seen.tags)
    assert "&lt;b&gt;ether" in answer.text
    assert not any(name == "style" or name.startswith("on") for name, _ in seen.attributes)
    assert not re.findall(r"(?:src|href)=", answer.text)
    listed = http.get(f"{job['links']['self']}/files/report.json")
    assert listed.headers["content-type"].startswith("application/json")
    assert [row["scores"] for row in listed.json()] == [rows[0]["scores"], []]


def test_the_report_of_a_finished_job_has_strain(http):
    made, _ = finished_job(http, "/v1/convert", {"molecules": {"smiles": ["CCO"]}, "seed": 1})
    body = {"molecules": {"job": made["id"]}, "models": ["selfnorm-descriptors"]}
    _, rows = finished_job(http, "/v1/report", body)
    strain = next(score for score in rows[0]["scores"] if "strain" in score["figure"])
    assert strain["kind"] == "estimate" and 0 <= strain["value"] < 1  # MMFF94's own minimum


def test_the_report_of_a_finished_job_keeps_the_bonds_of_its_molecules(http):
    """String models need them, and distances would take the ring's long bonds for single ones."""
    made, _ = finished_job(http, "/v1/convert", {"molecules": {"smiles": ["Cc1ccncc1"]}, "seed": 1})
    body = {"molecules": {"job": made["id"]}, "models": ["survae-conformers"], "strain": False}
    _, rows = finished_job(http, "/v1/report", body)
    assert rows[0]["smiles"] == "Cc1ccncc1"
    (score,) = rows[0]["scores"]
    assert score["kind"] == "exact" and score["percentile"] is not None


@pytest.mark.parametrize(
    ("models", "pointer", "words"),
    [
        (["nothing"], "/models/0", "there is no model 'nothing'; choose from"),
        (["selfnorm-descriptors", "vde"], "/models/1", "vde judges no molecules"),
        (["enf-dw4"], "/models/0", "enf-dw4 judges no molecules"),
    ],
)
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_report_by_a_model_that_cannot_give_one_is_refused_at_once(http, models, pointer, words, query):
    body = {"molecules": {"smiles": ["C"]}, "models": models}
    answer = http.post(f"/v1/report{query}", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer and words in fault["detail"]


def test_a_family_that_nobody_has_heard_of_is_in_the_report_by_its_card_alone(http):
    """The toy of these tests scores molecules, and nothing but its card says so."""
    _, rows = finished_job(
        http, "/v1/report", {"molecules": {"smiles": ["CCO"]}, "models": ["toy-molecules"]}
    )
    (score,) = rows[0]["scores"]
    assert score["value"] == -1.5 * 9 and score["kind"] == "lower_bound" and score["standard_error"] == 0.25


@pytest.mark.slow
def test_without_names_the_report_asks_every_model_that_answers_soon(http):
    made, _ = finished_job(http, "/v1/convert", {"molecules": {"smiles": ["CC(C)CO"]}, "seed": 1})
    _, rows = finished_job(http, "/v1/report", {"molecules": {"job": made["id"]}, "seed": 1})
    asked = {score["model"] for score in rows[0]["scores"]}
    known = {"edm-qm9", "egnn-qm9", "ddf-fingerprints", "convexp-graph", "survae-conformers", "toy-molecules"}
    assert {*known, *MODELS} <= asked
    assert "enf-qm9" not in asked  # its exact trace takes minutes for a group
    problems = {score["model"]: score["problem"] for score in rows[0]["scores"] if "problem" in score}
    assert problems == {}
