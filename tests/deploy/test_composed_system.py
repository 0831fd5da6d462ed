"""The composed system does its work and is as closed as the compose file says."""

import json
import re
import subprocess

import pytest
from rig import images
from rig.system import System

SERVICES = {"redis", "api", "worker-cpu", "worker-convert"}
CAPABILITIES = re.compile(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s*([0-9a-f]+)$", re.MULTILINE)


def test_an_api_without_keys_refuses_to_start(engine):
    command = ["podman", "run", "--rm", "--network", "none", images.API]
    done = subprocess.run(command, env=engine.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "equimol keys create" in done.stdout + done.stderr


def test_the_api_image_has_neither_torch_nor_rdkit(engine):
    for package in ("torch", "rdkit", "numpy", "pip"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is not None)"
        engine.podman("run", "--rm", "--network", "none", images.API, "/opt/equimol/bin/python", "-c", code)


def test_exactly_the_services_of_the_profile_run(system: System):
    assert set(system.containers()) == SERVICES


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_container_has_rights_it_does_not_need(system: System, service: str):
    name = system.container(service)
    run = system.engine.execute
    assert run(name, "id", "-u").strip() == ("999" if service == "redis" else "10001")
    # The init process and the service itself, not only what `exec` starts.
    status = run(name, "sh", "-c", "cat /proc/1/status /proc/self/status")
    assert {int(value, 16) for value in CAPABILITIES.findall(status)} == {0}
    assert set(re.findall(r"^NoNewPrivs:\s*(\d)", status, re.MULTILINE)) == {"1"}
    for place in ("/new", "/usr/new", "/opt/new"):
        with pytest.raises(Exception, match="Read-only file system"):
            run(name, "touch", place)
    facts = system.engine.inspect(name)["HostConfig"]
    assert facts["Memory"] > 0
    assert facts["PidsLimit"] > 0
    assert facts["RestartPolicy"]["Name"] == "unless-stopped"
    assert not facts["Privileged"]


def test_only_the_api_is_published_and_only_on_this_machine(system: System):
    published = {
        service: facts["HostConfig"]["PortBindings"]
        for service, facts in system.containers().items()
        if facts["HostConfig"]["PortBindings"]
    }
    assert published == {"api": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(system.port)}]}}


@pytest.mark.parametrize("service", ["redis", "worker-cpu", "worker-convert"])
def test_the_inner_network_has_no_way_out(system: System, service: str):
    routes = system.engine.execute(system.container(service), "cat", "/proc/net/route")
    destinations = [line.split()[1] for line in routes.splitlines()[1:]]
    assert "00000000" not in destinations


def test_the_password_is_a_file_and_nothing_else(system: System):
    url = (system.folder / "docker" / "secrets" / "redis_url").read_text()
    password = re.search(r":([0-9a-f]{64})@", url)[1]
    described = json.dumps(list(system.containers().values()))
    assert password not in described
    name = system.container("redis")
    commands = system.engine.execute(name, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "valkey-server" in commands
    assert password not in commands
    answer = system.engine.execute(name, "valkey-cli", "ping", check=False)
    assert "NOAUTH" in answer
    # Even with the password nobody may administer or empty the job store.
    script = "REDISCLI_AUTH=$(sed 's|.*:\\(.*\\)@.*|\\1|' /run/secrets/redis_url) valkey-cli {}"
    for command in ("config get '*'", "flushall", "shutdown"):
        answer = system.engine.execute(name, "sh", "-c", script.format(command), check=False)
        assert "NOPERM" in answer, command


def test_health_checks_say_healthy(system: System):
    for service in sorted(SERVICES):
        system.engine.podman("healthcheck", "run", system.container(service))


def test_metrics_answer_without_a_key_and_jobs_do_not(system: System):
    with system.http() as http:
        metrics = http.get("/v1/metrics")
        assert metrics.status_code == 200
        assert "equimol_store_up 1.0" in metrics.text
        assert http.get("/v1/health/ready").status_code == 200
        assert http.get("/v1/jobs").status_code == 401
        assert http.get("/v1/jobs", headers={"Authorization": "Bearer eqm_wrong"}).status_code == 401


def test_molecules_are_sampled_scored_and_downloaded(system: System, tmp_path):
    with system.client() as client:
        job = client.sample("edm-qm9", n_molecules=8, steps=20, seed=1).wait(240)
        sdf = job.save(tmp_path / "molecules.sdf").read_text()
        xyz = job.save(tmp_path / "molecules.xyz").read_text()
        assert sdf.count("$$$$") == 8
        counts = [int(line) for line in xyz.splitlines() if line.strip().isdigit()]
        assert counts == [row.n_atoms for row in job.molecules()]
        scored = client.score("edm-qm9", {"job": job.id}, draws=2, seed=1).wait(240)
        assert len(list(scored.molecules())) == 8
        # The other queue, with its own worker.
        checked = client.validate({"smiles": ["CCO", "C(C)(C)(C)(C)C"]}).wait(120)
        assert [row.valid for row in checked.molecules()] == [True, False]
