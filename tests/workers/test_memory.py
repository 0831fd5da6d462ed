"""Memory does not grow with the job."""

import tracemalloc
from datetime import UTC, datetime

import pytest
from tester.adapter import Adapter
from tester.schemas import TestRequest

from workers.adapters.base import Item, Outcome
from workers.files import ResultFiles
from workers.ids import new_id
from workers.joining import join
from workers.records import Cost, JobRecord, JobStatus, Progress, ShardRecord
from workers.results import Results
from workers.shardfiles import ShardWriter, shard_folder

SHARD = 64


def finished_job(files, molecules):
    """The files of a job of so many molecules, as its workers leave them, and its shards."""
    request = TestRequest(n_molecules=molecules, seed=1)
    job = JobRecord(
        id=new_id(),
        family="tester",
        model="tester",
        capability="sample",
        queue="batch",
        owner="o",
        labels={},
        request=request.model_dump(mode="json"),
        seed=1,
        status=JobStatus.RUNNING,
        created=datetime.now(tz=UTC),
        progress=Progress(),
        cost=Cost(molecules=molecules, evaluations=0),
        shards=0,
    )
    shards = []
    for unit, start in enumerate(range(0, molecules, SHARD)):
        count = min(SHARD, molecules - start)
        folder = shard_folder(str(unit), 1)
        with ShardWriter(files, job.id, folder) as writer:
            for index in range(start, start + count):
                writer.add(Adapter().encode(Outcome(Item(index, 1), request, "sample", index)))
        record = {"unit": str(unit), "status": "done", "start": start, "count": count, "folder": folder}
        shards.append(ShardRecord(**record, rows=count))
    return job, shards, request


@pytest.mark.slow
def test_joining_and_reading_ten_thousand_molecules_takes_no_more_memory_than_one_thousand(tmp_path):
    peaks = {}
    for molecules in (1_000, 10_000):
        files = ResultFiles(str(tmp_path))
        job, shards, request = finished_job(files, molecules)
        tracemalloc.start()
        _, accepted = join(files, job, "files-1", shards, request, lambda: None)
        ended = job.model_copy(update={"status": JobStatus.SUCCEEDED, "folder": "files-1"})
        page = Results(None, files).page(ended, sort="-n_atoms", limit=50)
        peaks[molecules] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert accepted == molecules and len(page.rows) == 50
    assert peaks[10_000] < 1.2 * peaks[1_000]
    assert peaks[10_000] < 4 * 2**20
