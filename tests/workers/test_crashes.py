"""Whatever dies, every job ends exactly once, and no molecule is lost or doubled."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tester.machinery import servers

from workers.presence import present_workers
from workers.records import FINAL, JobStatus


def ends(desk, job):
    """How often the job's stream says that it ended."""
    kinds = [event.data for event in desk.store.events(job.id) if event.kind == "status"]
    return sum(data["status"] not in ("queued", "running") for data in kinds)


def running(desk, job, at_least=1):
    """Whether a shard is being computed after some are done."""
    shards = desk.store.shards(job.id)
    return any(s.status == "running" for s in shards) and sum(s.status == "done" for s in shards) >= at_least


def test_killing_the_worker_group(slow_job, desk, sample, start_worker, wait, undisturbed, read_rows):
    worker = start_worker()
    job = sample(**slow_job)
    wait(lambda: running(desk, job))
    worker.kill_group()
    start_worker()
    job = wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert ends(desk, job) == 1
    assert job.attempts == 2 and job.redeliveries == 1
    assert job.progress.done == job.progress.total == 16


def test_killing_the_child_is_repaired_by_the_same_worker_without_waiting_for_the_lease(
    slow_job, desk, sample, start_worker, wait, undisturbed, read_rows
):
    worker = start_worker(lease_seconds=60.0, visibility_seconds=120.0)
    job = sample(**slow_job)
    wait(lambda: running(desk, job))
    started = time.monotonic()
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    job = wait(job.id)
    assert time.monotonic() - started < 15
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert ends(desk, job) == 1
    assert job.attempts == 2


@pytest.mark.slow
def test_killing_the_parent_ends_the_child_too(
    slow_job, desk, sample, start_worker, wait, undisturbed, read_rows
):
    worker = start_worker()
    job = sample(**slow_job)
    wait(lambda: running(desk, job))
    (child,) = worker.children()
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
    wait(
        lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_text()
    )
    start_worker()
    job = wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert ends(desk, job) == 1


@pytest.mark.parametrize(
    "server_program",
    [pytest.param(name, marks=[pytest.mark.slow] * (i > 0)) for i, name in enumerate(sorted(servers()))],
    indirect=True,
)
def test_killing_the_store(
    slow_job, desk, server, settings, sample, start_worker, wait, undisturbed, read_rows
):
    start_worker()
    job = sample(**slow_job)
    wait(lambda: running(desk, job))
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    time.sleep(1.0)
    server.start()
    job = wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert ends(desk, job) == 1
    later = wait(sample(**slow_job).id)
    assert read_rows(later) == undisturbed


def test_a_job_that_always_kills_its_worker_fails_after_three_attempts(
    desk, sample, start_worker, wait, folder
):
    journal = folder / "journal"
    start_worker()
    job = wait(sample(n_molecules=8, kill_at=5, journal=str(journal)).id)
    assert job.status is JobStatus.FAILED
    assert job.problem["type"] == "/problems/worker-lost"
    assert job.attempts == 3
    assert ends(desk, job) == 1
    starts = [line for line in journal.read_text().splitlines() if line.startswith("start 4 ")]
    assert len(starts) == 3
    assert [row.status for row in desk.store.shards(job.id)] == ["done", "dropped"]
    assert (
        desk.files.read(job.id, job.path("molecules.sdf")).count(b"$$$$") == 4
    )  # the finished shard is kept
    after = wait(sample(n_molecules=3).id)
    assert after.status is JobStatus.SUCCEEDED


@pytest.mark.slow
def test_a_job_that_kills_its_worker_once_succeeds(
    slow_job, sample, start_worker, wait, undisturbed, read_rows, folder
):
    start_worker()
    job = wait(sample(**slow_job, kill_at=6, once=str(folder / "once")).id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert job.attempts == 2


def test_an_unexpected_error_is_tried_again_and_then_told_without_internals(
    sample, start_worker, wait, folder
):
    start_worker()
    job = wait(sample(n_molecules=4, raise_at=1, once=str(folder / "once")).id)
    assert job.status is JobStatus.SUCCEEDED and job.attempts == 2
    job = wait(sample(n_molecules=4, raise_at=1).id)
    assert job.status is JobStatus.FAILED and job.attempts == 3
    assert job.problem["type"] == "/problems/internal"
    assert "as told" not in job.problem["detail"]


def test_a_hanging_computation_is_ended_and_repeated(
    slow_job, sample, start_worker, wait, undisturbed, read_rows, folder
):
    start_worker(stall_seconds=1.5)
    job = wait(sample(**slow_job, hang_at=2, once=str(folder / "once")).id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed


def test_a_polite_stop_gives_the_shard_back_without_counting_an_attempt(
    slow_job, desk, sample, start_worker, wait, undisturbed, read_rows
):
    worker = start_worker(lease_seconds=60.0, visibility_seconds=120.0, lost_message_seconds=60.0)
    job = sample(**slow_job)
    wait(lambda: running(desk, job))
    started = time.monotonic()
    worker.terminate()
    assert time.monotonic() - started < 5
    wait(lambda: not any(shard.status == "running" for shard in desk.store.shards(job.id)))
    start_worker(lease_seconds=60.0, visibility_seconds=120.0, lost_message_seconds=60.0)
    job = wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.attempts == 1 and job.redeliveries == 0
    assert read_rows(job) == undisturbed


def test_a_lost_message_is_sent_again(desk, sample, start_worker, wait):
    job = sample(n_molecules=12)
    keys = desk.store.redis.keys("*celery:batch*")
    assert desk.store.redis.llen(keys[0]) == 3
    desk.store.redis.delete(*keys)
    start_worker()
    assert wait(job.id).status is JobStatus.SUCCEEDED
    assert int(float(desk.store.redis.hget(desk.store.key("metrics"), "lost_messages_total"))) == 3


def test_the_final_unit_survives_the_death_of_its_worker(
    slow_job, desk, sample, start_worker, wait, undisturbed, read_rows
):
    """The last shard was handed in, then the worker died before the files were joined."""
    worker = start_worker()
    job = sample(**slow_job)
    wait(lambda: running(desk, job, at_least=3))
    os.kill(worker.pid, signal.SIGSTOP)  # the parent acknowledges nothing and starts no further unit
    wait(lambda: job_unit(desk, job, FINAL) != "waiting" or desk.store.get(job.id).ended)
    worker.kill_group()
    start_worker()
    job = wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert read_rows(job) == undisturbed
    assert ends(desk, job) == 1


def job_unit(desk, job, unit):
    return json.loads(desk.store.redis.hget(desk.store.key("job", job.id, "shards"), unit))["status"]


def test_two_workers_share_a_job_and_give_the_same_as_one(
    desk, sample, start_worker, wait, read_rows, folder
):
    journal = folder / "journal"
    start_worker()
    alone = wait(sample(n_molecules=40).id)
    start_worker()
    wait(lambda: [worker.ready for worker in present_workers(desk.store)] == [True, True])
    shared = wait(sample(n_molecules=40, step_seconds=0.01, journal=str(journal)).id)
    assert read_rows(shared) == read_rows(alone)
    assert len({line.split()[3] for line in journal.read_text().splitlines()}) == 2
    assert len(journal.read_text().splitlines()) == 2 * 10
