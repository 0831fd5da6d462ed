"""Whole jobs through a real worker."""

import hashlib
import io
import json
import zipfile

import pytest
from tester.adapter import number_of

from workers.manifest import replay_body
from workers.problems import NotFound, NotReady, Validation
from workers.records import JobStatus
from workers.results import Results, RowFilter


@pytest.fixture
def desk(calm_desk):
    return calm_desk


@pytest.fixture
def settings(calm_desk):
    return calm_desk.settings


def test_a_job_gives_every_molecule_once_in_order(sample, wait, read_rows):
    job = wait(sample(n_molecules=10).id)
    assert job.status is JobStatus.SUCCEEDED, job.problem
    rows, files = read_rows(job)
    assert [row["index"] for row in rows] == list(range(10))
    assert [row["smiles"] for row in rows] == [f"C{number_of(7, i)}" for i in range(10)]
    assert files["molecules.sdf"].decode() == "".join(f"sdf {i} {number_of(7, i)}\n$$$$\n" for i in range(10))
    assert job.progress.done == job.progress.total == job.progress.valid == 10
    assert job.progress.steps == job.progress.steps_total == 50
    assert job.attempts == 1 and job.redeliveries == 0


def test_memory_running_out_halves_the_batch_until_it_fits(sample, wait, read_rows):
    normal = wait(sample(n_molecules=8).id)
    tight = wait(sample(n_molecules=8, memory_for=1).id)
    assert tight.status is JobStatus.SUCCEEDED
    assert read_rows(tight) == read_rows(normal)
    assert tight.progress == normal.progress


def test_a_molecule_that_never_fits_spoils_only_its_own_row(sample, wait, read_rows):
    job = wait(sample(n_molecules=3, memory_for=0).id)
    assert job.status is JobStatus.SUCCEEDED
    rows, files = read_rows(job)
    assert [row["reasons"][0]["code"] for row in rows] == ["out-of-memory"] * 3
    assert files["molecules.sdf"] == b""


@pytest.mark.parametrize("every", [2, 3])
def test_until_valid_goes_on_until_enough_molecules_passed(every, sample, wait, read_rows):
    job = wait(sample(n_molecules=20, fail_every=every, until_valid=True).id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.accepted == 20
    rows, files = read_rows(job)
    expected = [i for i in range(1000) if i % every][:20]
    assert [row["index"] for row in rows if row["accepted"]] == expected
    assert files["molecules.sdf"].count(b"$$$$") == 20
    assert len(rows) == job.progress.done == job.progress.total


def test_until_valid_stops_at_the_limit_of_candidates(sample, wait):
    job = wait(sample(n_molecules=5, fail_every=1, until_valid=True, max_attempts=23).id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.accepted == 0
    assert job.progress.done == 23


def test_records_of_an_input_reach_the_adapter_whole_and_in_order(read, wait, read_rows):
    texts = ["C" * (i + 1) for i in range(11)]
    job = wait(read(smiles=texts).id)
    rows, _ = read_rows(job)
    assert [row["smiles"] for row in rows] == [f"C{len(text) + 1}" for text in texts]


def test_the_manifest_tells_how_to_run_the_job_again(desk, sample, card, wait, read_rows):
    job = wait(sample(n_molecules=6, steps=2).id)
    manifest = json.loads(desk.files.read(job.id, job.path("manifest.json")))
    assert manifest["model"] == "tester" and manifest["seed"] == 7 and manifest["accepted"] == 6
    assert {file["name"]: file["sha256"] for file in manifest["files"]}.keys() == {
        "molecules.sdf",
        "molecules.xyz",
        "molecules.smi",
        "molecules.csv",
    }
    again = wait(sample(**replay_body(manifest)).id)
    assert read_rows(again) == read_rows(job)


def test_the_table_grows_while_the_job_runs(desk, sample, wait):
    results = Results(desk.store, desk.files)
    job = sample(n_molecules=12, step_seconds=0.05)
    with pytest.raises(NotReady):
        results.row(job, 0)
    wait(lambda: len(list(results.rows(desk.store.get(job.id)))) in (4, 8))
    early = results.page(desk.store.get(job.id))
    assert [row["index"] for row in early.rows] == list(range(len(early.rows)))
    assert results.text(desk.store.get(job.id), 2, "xyz").startswith(b"xyz 2 ")
    with pytest.raises(NotReady):
        results.file(desk.store.get(job.id), "molecules.sdf")
    job = wait(job.id)
    assert len(results.page(job, where=RowFilter(accepted=True)).rows) == 12
    with pytest.raises(NotFound):
        results.row(job, 12)


def test_metrics_count_what_happened_and_are_read_by_anyone(desk, sample, wait):
    from prometheus_client import CollectorRegistry, generate_latest

    from workers.metrics import WorkerMetrics

    registry = CollectorRegistry()
    registry.register(WorkerMetrics(desk.store))

    def value(name):
        lines = generate_latest(registry).decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    ended = 'equimol_jobs_total{capability="sample",family="tester",status="succeeded"}'
    valid = 'equimol_molecules_total{capability="sample",family="tester",model="tester",valid="true"}'
    before = value(ended), value(valid), value("equimol_shard_seconds_count")
    wait(sample(n_molecules=9, fail_every=3).id)
    assert value(ended) == before[0] + 1
    assert value(valid) == before[1] + 6
    assert value("equimol_shard_seconds_count") == before[2] + 3
    assert value("equimol_worker_ready{") == 1


def test_cancel_stops_a_running_job_and_keeps_what_is_finished(desk, sample, wait, read_rows):
    job = sample(n_molecules=40, step_seconds=0.05)
    wait(lambda: desk.store.get(job.id).progress.done >= 5)
    desk.cancel(job.id)
    job = wait(job.id)
    assert job.status is JobStatus.CANCELED
    rows, files = read_rows(job)
    assert 5 <= len(rows) < 40
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert files["molecules.sdf"].count(b"$$$$") == job.accepted == len(rows)
    assert json.loads(desk.files.read(job.id, job.path("manifest.json")))["stopped_as"] == "canceled"


def test_a_deadline_ends_a_running_job_and_keeps_what_is_finished(desk, sample, wait, read_rows):
    job = wait(sample(n_molecules=200, step_seconds=0.05, deadline_seconds=3).id)
    assert job.status is JobStatus.EXPIRED and job.problem["type"] == "/problems/deadline"
    assert len(read_rows(job)[0]) == job.progress.done < 200


def test_deleting_a_running_job_leaves_nothing_behind(desk, sample, wait):
    job = sample(n_molecules=40, step_seconds=0.05)
    wait(lambda: desk.store.get(job.id).progress.done >= 1)
    desk.delete(job.id)
    after = wait(sample(n_molecules=1).id)
    assert after.status is JobStatus.SUCCEEDED
    assert job.id not in desk.files.jobs()


def test_an_urgent_job_overtakes_a_long_one(sample, desk, wait):
    long = sample(n_molecules=100, step_seconds=0.02)
    assert long.queue == "batch"
    urgent = sample(n_molecules=2)
    assert urgent.queue == "interactive"
    wait(urgent.id)
    assert not desk.store.get(long.id).ended
    desk.cancel(long.id)
    wait(long.id)


@pytest.mark.parametrize("sort", ["index", "-index", "n_atoms", "-n_atoms", "smiles"])
def test_pages_of_the_table_go_through_every_row_once_in_order(sort, desk, sample, wait):
    results = Results(desk.store, desk.files)
    job = wait(sample(n_molecules=23, fail_every=4).id)
    rows, cursor = [], None
    while True:
        page = results.page(job, sort=sort, cursor=cursor, limit=5)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    name = sort.removeprefix("-")
    values = [row[name] for row in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))
    assert sorted(row["index"] for row in rows) == list(range(23))
    with pytest.raises(Validation):
        results.page(job, sort=sort, cursor="bm9uc2Vuc2U")


def test_the_archive_holds_every_file_whole(desk, sample, wait):
    job = wait(sample(n_molecules=7).id)
    data = b"".join(Results(desk.store, desk.files).archive(job))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for file in job.files:
            content = archive.read(file.name)
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
