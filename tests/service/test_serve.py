"""`equimol serve`: everything starts, what dies comes back, and nothing is left behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from service.cli.supervisor import Child, GivenUpError, Supervisor


def descendants(pid):
    """All processes below one, by pid, with their command lines."""
    listing = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()[1:]]
    found, parents = {}, {pid}
    while parents:
        children = {int(row[0]): row[2] for row in rows if int(row[1]) in parents}
        found |= children
        parents = set(children)
    return found


def until(condition, timeout=40.0):
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        try:
            if value := condition():
                return value
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout} s")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_whatever_dies_comes_back_and_accepted_jobs_are_done(start_service):
    service = start_service()
    service.wait_for_worker()
    with httpx.Client(base_url=service.url, timeout=30) as http:
        for victim in ("service.cli worker", "service.cli api", "-server"):
            body = {"n_molecules": 8, "steps": 20, "step_seconds": 0.1, "seed": 1}
            job = http.post("/v1/models/toy-molecules/sample", json=body).json()
            until(lambda job=job: http.get(job["links"]["self"]).json()["status"] == "running")
            pid = next(pid for pid, line in descendants(service.process.pid).items() if victim in line)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not alive(pid))
            ended = until(
                lambda job=job: (
                    (now := http.get(job["links"]["self"]).json())["status"] == "succeeded" and now
                ),
                timeout=120,
            )
            assert ended["progress"]["done"] == 8, victim


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_however_the_service_ends(start_service, number):
    service = start_service()
    service.wait_for_worker()
    below = descendants(service.process.pid)
    assert len(below) >= 4, "API, worker, its child, job store"
    service.process.send_signal(number)
    service.process.wait(40)
    until(lambda: not [pid for pid in below if alive(pid)], timeout=20)
    if number is not signal.SIGKILL:
        assert service.process.returncode == 0


@pytest.mark.slow
def test_jobs_and_results_are_there_again_after_a_restart(start_service):
    first = start_service()
    first.wait_for_worker()
    body = {"n_molecules": 2, "seed": 1}
    job = httpx.post(
        f"{first.url}/v1/models/toy-molecules/sample", json=body, headers={"Prefer": "wait=30"}
    ).json()
    text = httpx.get(f"{first.url}/v1/jobs/{job['id']}/files/molecules.xyz").text
    assert first.stop() == 0
    again = start_service("--workers", "0")
    assert httpx.get(f"{again.url}/v1/jobs/{job['id']}/files/molecules.xyz").text == text


def test_a_child_that_always_dies_is_given_up_with_its_name():
    told = []
    child = Child("the doomed", ["/bin/false"], os.environ)
    supervisor = Supervisor([child], told.append, first_pause=0.01)
    supervisor.start()
    with pytest.raises(GivenUpError, match="the doomed died 5 times"):
        until(lambda: supervisor.tend(), timeout=30)
    assert len(told) == 4
    assert "exit code 1" in told[0]


def test_a_child_that_does_not_listen_is_killed_with_all_it_started():
    script = "trap '' TERM; sleep 600 & wait; sleep 600"
    child = Child("the deaf", ["/bin/sh", "-c", script], os.environ)
    supervisor = Supervisor([child], print)
    supervisor.start()
    pid = child.process.pid
    below = until(lambda: descendants(pid))
    begun = time.monotonic()
    supervisor.stop(patience=0.5)
    assert time.monotonic() - begun < 3
    until(lambda: not [each for each in [pid, *below] if alive(each)], timeout=5)
