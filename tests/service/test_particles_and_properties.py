"""Properties, particles and graphs end to end: the shipped models behind the real service and a real worker."""

import json

import httpx
import pytest

from models.enf_particles.potentials import system
from service.client import Equimol
from tests.service.conftest import finished_job

ETHANOL = """9
ethanol
C 0.0072 -0.5687 0.0
C -1.2854 0.2499 0.0
O 1.1304 0.3147 0.0
H 0.0392 -1.1972 0.8903
H 0.0392 -1.1972 -0.8903
H -1.3175 0.8784 0.8903
H -1.3175 0.8784 -0.8903
H -2.1422 -0.4239 0.0
H 1.9857 -0.1365 0.0
"""
SYSTEM = {
    "positions": [[0, 0, 0], [1.5, 0, 0], [0, 2, 0], [0, 0, -1.5], [2, 2, 2]],
    "velocities": [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [-0.5, 0, 0], [0, -0.5, 0]],
    "charges": [1, -1, 1, 1, -1],
}
TWO_TRIANGLES = {"n_nodes": 7, "edges": [[0, 1], [1, 2], [0, 2], [2, 3], [3, 4], [4, 5], [5, 6], [4, 6]]}


@pytest.fixture
def ask(http):
    """Rows of a finished job, in order."""
    return lambda model, capability, **body: finished_job(http, f"/v1/models/{model}/{capability}", body)[1]


def turned(xyz):
    """The same molecule turned by a quarter about z, and moved."""
    lines = xyz.splitlines()
    out = lines[:2]
    for line in lines[2:]:
        symbol, x, y, z = line.split()
        out.append(f"{symbol} {-float(y) + 3} {float(x) - 2} {float(z) + 1}")
    return "\n".join(out) + "\n"


def values(row):
    return {name: found["value"] for name, found in row["properties"].items()}


# --- properties ---------------------------------------------------------------------------------------------


def test_properties_come_with_units_intervals_a_domain_and_the_origin_of_the_geometry(ask):
    (row,) = ask("egnn-qm9", "predict", molecules={"xyz": ETHANOL})
    assert len(row["properties"]) == 12 and row["geometry"] == "given" and row["coverage"] == 90
    for found in row["properties"].values():
        assert found["low"] < found["value"] < found["high"] and found["unit"]
    told = values(row)
    assert told["gap"] == pytest.approx(told["lumo"] - told["homo"], abs=1e-4)
    assert told["h"] < told["u"] < told["u0"] < told["g"]  # of the atomization: bonds gain, entropy costs
    assert row["in_domain"] is True and row["reasons"] == []


def test_a_wider_coverage_gives_wider_intervals_and_single_properties_can_be_asked_for(ask):
    widths = []
    for coverage in (50, 99):
        (row,) = ask(
            "egnn-qm9", "predict", molecules={"xyz": ETHANOL}, properties=["homo"], coverage=coverage
        )
        assert list(row["properties"]) == ["homo"]
        widths.append(row["properties"]["homo"]["high"] - row["properties"]["homo"]["low"])
    assert widths[1] > 3 * widths[0]


def test_a_molecule_turned_or_sent_as_sdf_has_the_same_properties(ask, ended, http, service):
    first, second = ask("egnn-qm9", "predict", molecules={"xyz": ETHANOL + turned(ETHANOL)})
    assert values(second) == pytest.approx(values(first), rel=1e-3, abs=2e-3)
    with Equimol(service.url) as client:
        sdf = client.convert({"xyz": ETHANOL}, to="sdf").wait()
        (third,) = client.run("egnn-qm9", "predict", molecules={"job": sdf.id}).wait().molecules()
        assert values(third.model_dump()) == pytest.approx(values(first), rel=1e-3, abs=2e-3)
        text = http.get(f"/v1/jobs/{sdf.id}/files/molecules.sdf").text
    answer = http.post("/v1/models/egnn-qm9/predict", files={"file": ("ethanol.sdf", text)})
    (fourth,) = http.get(ended(answer.json(), timeout=200)["links"]["molecules"]).json()["items"]
    assert values(fourth) == pytest.approx(values(first), rel=1e-3, abs=2e-3)


def test_smiles_get_coordinates_and_the_row_says_so_and_a_bad_one_spoils_only_itself(ask):
    rows = ask("egnn-qm9", "predict", molecules={"smiles": ["c1ccccc1", "CC#N", "CSC", "C1CC"]}, seed=1)
    benzene, acetonitrile, sulfide, broken = sorted(rows, key=lambda row: row["index"])
    assert benzene["geometry"] == "etkdg" and "ETKDG" in benzene["warnings"][0]
    assert values(benzene)["mu"] < 0.5 < values(acetonitrile)["mu"]
    assert sulfide.get("properties") is None and "S" in sulfide["reasons"][0]["message"]
    assert broken.get("properties") is None and broken["valid"] is False and broken["reasons"]


def test_molecules_unlike_the_training_data_are_flagged(ask):
    lines = [line.split() for line in ETHANOL.splitlines()[2:]]
    squeezed = "".join(f"{symbol} {' '.join(str(0.85 * float(n)) for n in x)}\n" for symbol, *x in lines)
    rows = ask("egnn-qm9", "predict", molecules={"xyz": f"9\nsqueezed\n{squeezed}"})
    assert rows[0]["in_domain"] is False
    assert {reason["code"] for reason in rows[0]["reasons"]} & {"outside-atom", "outside-molecule"}


def test_properties_are_a_table_of_the_job_and_of_the_command(equimol, tmp_path):
    (tmp_path / "ethanol.xyz").write_text(ETHANOL)
    done = equimol("run", "egnn-qm9", "predict", "ethanol.xyz", "-o", "predictions.csv")
    assert done.returncode == 0, done.stderr
    heading, row = (tmp_path / "predictions.csv").read_text().splitlines()
    assert "properties.homo.value" in heading.split(",") and "eV" in row.split(",")


# --- charged particles --------------------------------------------------------------------------------------


def test_charged_particles_are_predicted_better_than_by_straight_lines_and_say_what_is_unusual(ask):
    errors = {}
    for method in ("egnn", "linear"):
        (row,) = ask("egnn-nbody", "predict", systems=[SYSTEM], method=method, simulate=True)
        errors[method] = row["simulated_error"]
        assert len(row["positions"]) == 5 and row["radius"] > 0
    assert errors["egnn"] < errors["linear"]
    pair = {name: part[:2] for name, part in SYSTEM.items()}
    (row,) = ask("egnn-nbody", "predict", systems=[pair])
    assert row["in_domain"] is False and row["reasons"][0]["code"] == "outside-size"


def test_other_horizons_and_lists_that_do_not_fit_are_refused_with_a_pointer(http):
    answer = http.post("/v1/models/egnn-nbody/predict", json={"systems": [SYSTEM], "steps": 10})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/steps"
    short = SYSTEM | {"charges": [1, 1]}
    answer = http.post("/v1/models/egnn-nbody/predict", json={"systems": [short]})
    assert answer.status_code == 422 and "2 charges" in answer.text


# --- flows of particles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "points", "dimensions"),
    [("enf-dw4", 4, 2), pytest.param("enf-lj13", 13, 3, marks=pytest.mark.slow)],
)
def test_samples_of_particle_systems_carry_energies_and_weights_and_score_as_they_were_drawn(
    ask, model, points, dimensions
):
    drawn = ask(model, "sample", n_samples=3, seed=4)
    again = ask(model, "sample", n_samples=5, seed=4, weigh=False)
    x = [row["positions"] for row in drawn]
    assert all(len(one) == points and len(one[0]) == dimensions for one in x)
    for row, other in zip(drawn, again, strict=False):
        flat = [number for point in row["positions"] for number in point]
        assert flat == pytest.approx([n for point in other["positions"] for n in point], abs=2e-3)
        assert "log_likelihood" not in other or other["log_likelihood"] is None
        assert row["log_weight"] == pytest.approx(-row["energy"] - row["log_likelihood"])
    scored = ask(model, "score", configurations=[[[a + 1 for a in point] for point in one] for one in x])
    for row, score in zip(drawn, scored, strict=True):
        assert score["log_likelihood"] == pytest.approx(row["log_likelihood"], abs=0.05)
        assert score["energy"] == pytest.approx(row["energy"], rel=1e-6)
        assert score["kind"] == "exact"


def test_energies_are_those_of_the_published_potential(ask):
    import torch

    square = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]
    (row,) = ask("enf-dw4", "score", configurations=[square], method="hutchinson", draws=16)
    wanted = system("dw4").energy(torch.tensor([square], dtype=torch.float64))
    assert row["energy"] == pytest.approx(float(wanted))
    assert row["kind"] == "estimate" and row["standard_error"] > 0


def test_configurations_of_another_system_are_refused_with_a_pointer(http):
    answer = http.post("/v1/models/enf-dw4/score", json={"configurations": [[[0, 0], [1, 1], [2, 2]]]})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/configurations/0"
    assert "4 points of 2 numbers" in answer.json()["errors"][0]["detail"]


def test_the_command_samples_whatever_the_model_counts(equimol, tmp_path):
    done = equimol("sample", "enf-dw4", "-n", "2", "--seed", "1", "-o", "x.csv")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert "log_weight" in lines[0] and len(lines) == 3


# --- graphs -------------------------------------------------------------------------------------------------


def test_graphs_are_encoded_scored_and_drawn(ask):
    (encoded,) = ask("egnn-graphs", "encode", graphs=[TWO_TRIANGLES])
    assert len(encoded["positions"]) == 7 and encoded["graph_connected"] is True
    (scored,) = ask("egnn-graphs", "score", graphs=[TWO_TRIANGLES], seed=2)
    assert len(scored["pairs"]) == 21 and 0 <= scored["f1"] <= 1
    by_edge = {True: [], False: []}
    for pair in scored["pairs"]:
        by_edge[pair["edge"]].append(pair["probability"])
    assert min(map(len, by_edge.values())) > 0
    means = {edge: sum(found) / len(found) for edge, found in by_edge.items()}
    assert means[True] > means[False] + 0.3
    drawn = ask("egnn-graphs", "sample", n_graphs=4, kind="erdos-renyi", n_nodes=10, seed=3)
    assert [row["n_nodes"] for row in drawn] == [10] * 4


def test_every_shipped_model_of_this_kind_has_a_card_with_figures_and_its_routes(service):
    models = httpx.get(f"{service.url}/v1/models").json()["items"]
    known = {model["id"]: model for model in models}
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    for name in ("egnn-qm9", "egnn-nbody", "egnn-graphs", "enf-dw4", "enf-lj13"):
        card = httpx.get(f"{service.url}/v1/models/{name}").json()
        assert card["metrics"] and all(
            metric["command"].startswith("equimol evaluate") for metric in card["metrics"]
        )
        for capability in known[name]["capabilities"]:
            assert f"/v1/models/{name}/{capability}" in paths
    assert json.dumps(known)
