"""Containers are killed in the middle of jobs; nothing is lost and nothing is done twice."""

import httpx
import pytest
from rig.system import System, wait_until

MOLECULES = 64


def _whole(job, count: int) -> None:
    """The job ended once, with every molecule once."""
    events = [event for event in job.events() if event is not None]
    ends = [event for event in events if event.kind == "status" and event.data["status"] == "succeeded"]
    assert len(ends) == 1
    assert [row.index for row in job.molecules()] == list(range(count))
    assert job.text("molecules.sdf").count("$$$$") == count
    assert job.document.progress.done == count
    assert job.document.attempts <= 3


def _half_done(job) -> bool:
    """Some shards are finished and others are not."""
    job.refresh()
    assert not job.document.ended, "the job was too short to be interrupted"
    return 0 < job.document.progress.done < MOLECULES


def test_a_killed_worker_loses_nothing(system: System):
    with system.client() as client:
        jobs = [client.sample("edm-qm9", n_molecules=MOLECULES, steps=30, seed=seed) for seed in (11, 12)]
        wait_until(lambda: _half_done(jobs[0]), 240, "half of the first job")
        before = system.restarts("worker-cpu")
        system.crash("worker-cpu")
        wait_until(lambda: system.restarts("worker-cpu") == before + 1, 60, "the worker's restart")
        for job in jobs:
            _whole(job.wait(600), MOLECULES)
        assert max(job.document.attempts for job in jobs) == 2


def test_a_killed_job_store_loses_nothing(system: System):
    with system.client() as client:
        jobs = [client.sample("edm-qm9", n_molecules=MOLECULES, steps=30, seed=seed) for seed in (21, 22)]
        wait_until(lambda: _half_done(jobs[0]), 240, "half of the first job")
        before = system.restarts("redis")
        system.crash("redis")
        wait_until(lambda: system.restarts("redis") == before + 1, 60, "the job store's restart")
        for job in jobs:
            _whole(job.wait(600), MOLECULES)


def test_the_same_seed_gives_the_same_molecules_whatever_was_killed(system: System):
    with system.client() as client:
        interrupted = next(job for job in client.jobs(limit=200) if job.seed == 11)
        again = client.sample("edm-qm9", n_molecules=MOLECULES, steps=30, seed=11).wait(600)
        first = [row.smiles for row in client.job(interrupted.id).molecules()]
        assert [row.smiles for row in again.molecules()] == first


def test_more_workers_join_by_scaling(system: System):
    system.compose("up", "--detach", "--no-build", "--scale", "worker-cpu=2")
    wait_until(lambda: system.ready(workers=3), 240, "a third ready worker")


def test_taking_everything_down_and_up_keeps_jobs_results_and_keys(system: System):
    with system.client() as client:
        kept = {job.id for job in client.jobs(limit=200)}
        unfinished = client.sample("edm-qm9", n_molecules=MOLECULES, steps=30, seed=31)
        wait_until(lambda: _half_done(unfinished), 240, "half of the job")
    system.compose("down")
    with system.http() as http, pytest.raises(httpx.TransportError):
        http.get("/v1/health/live")
    system.compose("up", "--detach", "--no-build")
    wait_until(system.ready, 240, "a ready API with two ready workers")
    with system.client() as client:
        assert {job.id for job in client.jobs(limit=200)} == kept | {unfinished.id}
        assert "$$$$" in client.job(min(kept)).text("molecules.sdf")
        _whole(client.job(unfinished.id).wait(600), MOLECULES)
