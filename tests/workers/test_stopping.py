"""Workers end when they are told to, whatever they have started."""

import time

import pytest

from workers.presence import present_workers


@pytest.mark.parametrize(
    "warm",
    [
        pytest.param(False, id="plain"),
        pytest.param(True, id="with a chemistry child", marks=pytest.mark.slow),
    ],
)
def test_a_worker_with_a_long_queue_ends_politely(warm, desk, sample, start_worker, wait):
    worker = start_worker(warm_up=warm)
    wait(lambda: any(found.ready for found in present_workers(desk.store)))
    for _ in range(10):
        sample(n_molecules=4, step_seconds=0.05, priority="batch")
    wait(lambda: desk.store.counts().running_shards == 1)
    started = time.monotonic()
    assert worker.terminate(timeout=30) == 0
    assert time.monotonic() - started < desk.settings.shutdown_seconds
    assert "Cold shutdown" not in worker.log.read_text()
    assert desk.store.counts().running_shards == 0
    assert present_workers(desk.store) == []
