"""Flows, and checkpoints that were imported, through a real service and a real worker."""

import json
import math
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.client import Equimol

sys.path.insert(0, str(Path(__file__).parents[2]))  # the folders of the models' tests

METHANE = {
    "numbers": [6, 1, 1, 1, 1],
    "positions": [
        [0.0, 0.0, 0.0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]
    ],
}  # fmt: skip
CROWDED = {"numbers": [6, 1, 1], "positions": [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.3, 0.0]]}
UNKNOWN = {"numbers": [14, 1], "positions": [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]}


def import_command(running, *arguments):
    """`equimol import` with the settings of a service."""
    command = [sys.executable, "-P", "-m", "service.cli", "import", *map(str, arguments)]
    return subprocess.run(command, env=running, capture_output=True, text=True, timeout=120)


@pytest.fixture
def service_with_imports(folder, start_service, tmp_path):
    """A service whose models folder got a conditional EDM and an E-NF before it started."""
    from tests.models.test_published_import import edm_folder, enf_folder
    from tests.service.conftest import environment

    settings = environment(folder)
    told, flow = edm_folder(tmp_path / "told", "conditional"), enf_folder(tmp_path / "flow")
    for arguments in (
        ("edm", told, "--name", "told", "--behavior", "published", "--licence", "MIT"),
        ("enf", flow, "--name", "flow"),
    ):
        done = import_command(settings, *arguments)
        assert done.returncode == 0, done.stderr
    again = import_command(settings, "edm", told, "--name", "told")
    assert again.returncode == 1
    assert "already" in again.stderr
    running = start_service()
    running.wait_for_worker()
    return running


@pytest.mark.slow
@pytest.mark.timeout(900)  # imports, a service and exact traces take minutes on a busy machine
def test_flows_and_imported_models_are_served_like_any_other(service_with_imports):
    with Equimol(service_with_imports.url) as client:
        # The shipped flow samples, the same molecules for the same seed, alone or together.
        made = list(client.sample("enf-qm9", n_molecules=3, seed=5, n_atoms=[5, 6, 7]).wait(600).molecules())
        assert [each.n_atoms for each in made] == [5, 6, 7]
        one = client.sample("enf-qm9", n_molecules=1, seed=5, n_atoms=5, solver="rk4", steps=8).wait(600)
        assert [each.n_atoms for each in one.molecules()] == [5]

        # It scores exactly, and a likely molecule above an impossible one; what it does not know has a reason.
        structures = {"structures": [METHANE, CROWDED, UNKNOWN]}
        rows = list(client.score("enf-qm9", structures, seed=1, draws=2).wait(600).molecules())
        assert rows[0].log_likelihood > rows[1].log_likelihood + 10
        assert 0 < rows[0].standard_error < 20
        assert rows[0].kind == "lower_bound"
        assert rows[2].reasons[0].code == "unknown-element"
        estimated = client.score("enf-qm9", structures, seed=1, method="hutchinson", draws=8).wait(600)
        first = next(iter(estimated.molecules()))
        error = math.hypot(first.standard_error, rows[0].standard_error)
        assert abs(first.log_likelihood - rows[0].log_likelihood) < 8 * error

        # Imported: the condition is asked for, named in every row, and its absence is a clear refusal.
        card = client.model("told")
        assert [each["name"] for each in card["config"]["context"]] == ["alpha"]
        job = client.sample(
            "told", n_molecules=3, seed=2, n_atoms=5, steps=4, context={"alpha": [60.0, 90.0]}
        )
        table = httpx.get(f"{service_with_imports.url}/v1/jobs/{job.wait(600).id}/molecules").json()["items"]
        assert [row["context"] for row in table] == [{"alpha": 60.0}, {"alpha": 90.0}, {"alpha": 60.0}]
        for body in ({"n_molecules": 1}, {"n_molecules": 1, "context": {"mu": 1.0}}):
            answer = httpx.post(f"{service_with_imports.url}/v1/models/told/sample", json=body)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == "/context"
            assert "alpha" in json.dumps(answer.json())
        refused = httpx.post(
            f"{service_with_imports.url}/v1/models/edm-qm9/sample", json={"context": {"alpha": 1.0}}
        )
        assert refused.status_code == 422
        bound = client.score("told", structures, draws=2, context={"alpha": 70.0}).wait(600)
        assert next(iter(bound.molecules())).log_likelihood is not None
        assert [each.id for each in client.models() if each.id in ("told", "flow")] == ["flow", "told"]
