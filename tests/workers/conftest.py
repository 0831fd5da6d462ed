"""Real Redis-compatible servers, real Celery workers in their own process groups, short timings."""

import contextlib
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from workers.cards import load_card
from workers.embedded import EmbeddedServer, find_server
from workers.engine import Engine, Shard
from workers.settings import Settings
from workers.submit import Desk

sys.path.insert(0, str(Path(__file__).parent))  # the test family is imported by name, here and in the workers

from tester.machinery import WorkerProcess, job_contents, servers, service_settings, wait_until
from tester.schemas import TestInputRequest, TestRequest


@pytest.fixture(scope="session")
def engine():
    """An engine of this process, for tests of adapters without a queue."""
    engine = Engine(Settings(), "cpu")
    yield engine
    engine.close()


@pytest.fixture
def run_rows(engine):
    """What a shard of a model writes into its rows, in the order of the items."""

    def run(family, card, capability, request, items):
        rows = engine.run(
            Shard(family, card, capability, request, tuple(items)), lambda step: None, lambda: False
        )
        return [row.data for row in sorted(rows, key=lambda row: row.index)]

    return run


@pytest.fixture
def folder():
    """A short path: UNIX sockets allow 108 bytes."""
    path = Path(tempfile.mkdtemp(prefix="eq"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def settings(folder):
    return service_settings(folder)


@pytest.fixture
def server_program(request):
    """The server that a user of this machine would get, or the one that a test names."""
    name = getattr(request, "param", None)
    return find_server() if name is None else servers()[name]


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
def start_worker_at(folder):
    """Start a worker for other settings, with further environment variables."""
    started = []

    def start(settings, environment):
        without_secrets = settings.model_copy(update={"redis_url": None})
        started.append(WorkerProcess(without_secrets, folder / "other.log", environment=environment))

    yield start
    for worker in started:
        worker.kill_group()


@pytest.fixture
def wait_at():
    return wait_until


@pytest.fixture
def wait(desk):
    return partial(wait_until, desk)


@pytest.fixture
def read_rows(desk):
    return partial(job_contents, desk)


SLOW_JOB = {"n_molecules": 16, "steps": 5, "step_seconds": 0.02}


@pytest.fixture
def slow_job():
    """A job of four shards of 0.4 s."""
    return SLOW_JOB


@pytest.fixture(scope="session")
def calm_desk():
    """A service with one worker that nobody disturbs, for all tests that only use it."""
    folder = Path(tempfile.mkdtemp(prefix="eq"))
    settings = service_settings(folder)
    server = EmbeddedServer(settings)
    server.start()
    desk = Desk.open(settings)
    worker = WorkerProcess(settings, folder / "worker.log")
    yield desk
    desk.store.redis.close()
    worker.kill_group()
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def undisturbed(calm_desk):
    """What the slow job gives when nothing happens."""
    card = load_card(calm_desk.settings.weights_folders[0] / "tester.json")
    job = calm_desk.submit(TestRequest(seed=7, **SLOW_JOB), "sample", card=card)[0]
    return job_contents(calm_desk, wait_until(calm_desk, job.id))
