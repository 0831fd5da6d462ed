"""A real service: `equimol serve` in a process of its own, with job store, worker and a toy family."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.main import build

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # browser.py

WATER_XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.471\nH 0.000 -0.757 -0.471\n"


class Service:
    """A running service and what a test needs to know of it."""

    def __init__(self, folder, *arguments, **settings):
        self.folder = folder
        self.environment = environment(folder, **settings)
        self.log = folder / "service.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*EQUIMOL, "serve", "--port", "0", *arguments],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.url = self._wait_for_url()

    def _wait_for_url(self):
        limit = time.monotonic() + 120
        while time.monotonic() < limit and self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError, httpx.HTTPError):
                url = json.loads((self.folder / "data" / "serve.lock").read_text())["url"]
                if httpx.get(f"{url}/v1/health/ready").status_code == 200:
                    return url
            time.sleep(0.05)
        raise AssertionError(self.log.read_text()[-3000:])

    def wait_for_worker(self, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limit = time.monotonic() + 180  # a worker loads torch, which takes long on a busy machine
        while time.monotonic() < limit:
            workers = httpx.get(f"{self.url}/v1/status", headers=headers).json()["workers"]
            if any(worker["ready"] for worker in workers):
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text()[-3000:])

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.returncode


EQUIMOL = [sys.executable, "-P", "-m", "service.cli"]


def environment(folder, **settings):
    """The environment of a service with its own folder; settings are those of workers.settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EQUIMOL_")}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    return kept | {
        "EQUIMOL_DATA_FOLDER": str(folder / "data"),
        "EQUIMOL_WEIGHTS_FOLDERS": json.dumps([str(folder / "weights")]),
        "EQUIMOL_PLUGINS": json.dumps({"toy": "toy"}),
        "EQUIMOL_WARM_UP": "false",
        "EQUIMOL_SHARD_SIZE": "8",
        "EQUIMOL_PROGRESS_SECONDS": "0.05",
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": "1",
        **{f"EQUIMOL_{name.upper()}": text for name, text in texts.items()},
    }


def make_folder():
    """A short path (sockets allow 108 bytes) with the toy's card in it."""
    folder = Path(tempfile.mkdtemp(prefix="eqs"))
    (folder / "weights").mkdir()
    shutil.copy(HERE / "toy" / "card.json", folder / "weights" / "toy-molecules.json")
    return folder


@pytest.fixture
def folder():
    path = make_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start_service(folder):
    """Start services of one's own; all are stopped at the end."""
    started = []

    def start(*arguments, **settings):
        started.append(Service(folder, *arguments, **settings))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def service():
    """One service that all tests share; its limits are small, so that tests can reach them."""
    folder = make_folder()
    running = Service(folder, max_body_bytes=2_000_000, event_heartbeat_seconds=0.5, requests_per_minute=0)
    running.wait_for_worker()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def http(service):
    """A plain HTTP client on the shared service."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture
def sample(http):
    """Post a sample request to the toy and return the job as JSON."""

    def post(**fields):
        answer = http.post("/v1/models/toy-molecules/sample", json=fields)
        assert answer.status_code == 202, answer.text
        return answer.json()

    return post


def until_ended(client, job, timeout=30):
    """Wait until a job has ended and return it as JSON."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        now = client.get(job["links"]["self"]).json()
        if now["status"] not in ("queued", "running"):
            return now
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout} s: {now}")


def finished_job(client, path, body, timeout=200):
    """Post a request and wait until its job has succeeded: the job and its rows, as JSON."""
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    job = until_ended(client, answer.json(), timeout)
    assert job["status"] == "succeeded", job
    return job, client.get(job["links"]["molecules"], params={"limit": 200}).json()["items"]


@pytest.fixture
def ended(http):
    """Wait until a job of the shared service has ended and return it as JSON."""
    return partial(until_ended, http)


@pytest.fixture(scope="session")
def finished(service):
    """A finished job of 20 molecules, for tests that only read."""
    with httpx.Client(base_url=service.url, timeout=60) as client:
        body = {"n_molecules": 20, "seed": 5, "keep_trajectory": 5, "labels": {"use": "reading"}}
        answer = client.post("/v1/models/toy-molecules/sample", json=body, headers={"Prefer": "wait=30"})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def equimol(service, tmp_path, monkeypatch):
    """Run the command against the shared service in an empty folder; returns what it did.

    In this process, because starting Python costs more than most commands; `fresh=True` runs a process.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments, url=None, fresh=False, **changes):
        variables = service.environment | {"EQUIMOL_URL": url or service.url, "COLUMNS": "200"} | changes
        if fresh:
            command = [*EQUIMOL, *arguments]
            done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
            return Done(done.returncode, done.stdout, done.stderr)
        result = CliRunner().invoke(build(arguments), list(arguments), env=variables, prog_name="equimol")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@dataclass(frozen=True)
class Done:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str
