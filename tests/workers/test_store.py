"""The laws of the job store, on every kind of server that is installed."""

import threading
import time

import pytest
from tester.machinery import servers

from workers.ids import id_milliseconds, is_id, new_id
from workers.leases import Lease, LeaseLostError, Leases, Refusal
from workers.problems import (
    IdempotencyConflict,
    Internal,
    LimitExceeded,
    NotFound,
    QueueFull,
    StoreUnavailable,
    TooLarge,
)
from workers.reconciler import Reconciler
from workers.records import FINAL, JobStatus, ShardPlan
from workers.submit import Desk

RESULT = {
    "folder": "shards/x",
    "rows": 4,
    "valid": 3,
    "passed": 3,
    "steps": 20,
    "device": "cpu",
    "seconds": 1.0,
}


@pytest.fixture(params=sorted(servers()))
def server_program(request):
    return servers()[request.param]


@pytest.fixture
def settings(settings):
    """No worker runs here, so leases may be very short."""
    return settings.model_copy(update={"lease_seconds": 0.4, "lost_message_seconds": 0.3})


@pytest.fixture
def leases(desk):
    return Leases(desk.store, "worker-a")


@pytest.fixture
def others(desk):
    return Leases(desk.store, "worker-b")


def finish_all(leases, job):
    for shard in leases.store.shards(job.id):
        leases.finish(leases.claim(job.id, shard.unit), RESULT)
    leases.complete(leases.claim(job.id, FINAL), "files-1", [], 4)


def test_ids_are_sortable_url_safe_and_tell_their_time():
    ids = [new_id(milliseconds) for milliseconds in (1, 2, 10**12, 2**47)]
    assert ids == sorted(ids) and all(is_id(name) for name in ids)
    assert [id_milliseconds(name) for name in ids] == [1, 2, 10**12, 2**47]
    assert not is_id("../../etc/passwd") and not is_id("") and not is_id("8" + "0" * 25)


def test_only_one_of_many_workers_gets_a_unit(desk, sample):
    job = sample(n_molecules=4)
    claims = []
    barrier = threading.Barrier(8)

    def try_it(name):
        mine = Leases(Desk.open(desk.settings).store, name)
        barrier.wait()
        claims.append(mine.claim(job.id, "0"))
        mine.store.redis.close()

    threads = [threading.Thread(target=try_it, args=(f"worker-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(claim, Lease) for claim in claims) == 1
    assert {claim.reason for claim in claims if isinstance(claim, Refusal)} == {"busy"}


def test_a_late_writer_with_an_old_token_is_refused(desk, sample, leases, others):
    job = sample(n_molecules=4)
    old = leases.claim(job.id, "0")
    wait_for_lease_end(desk)
    new = others.claim(job.id, "0")
    assert new.token > old.token and new.attempt == 2
    for late in (
        lambda: leases.finish(old, RESULT),
        lambda: leases.beat(old),
        lambda: leases.fail(old, Internal("late"), again=True),
        lambda: leases.release(old),
    ):
        with pytest.raises(LeaseLostError):
            late()
    others.finish(new, RESULT | {"folder": "shards/new"})
    with pytest.raises(LeaseLostError):
        leases.finish(old, RESULT)
    assert desk.store.shards(job.id)[0].folder == "shards/new"
    assert desk.store.get(job.id).progress.done == 4


def wait_for_lease_end(desk):
    time.sleep(desk.settings.lease_seconds + 0.05)


def test_a_result_is_accepted_once(sample, leases):
    job = sample(n_molecules=4)
    lease = leases.claim(job.id, "0")
    leases.finish(lease, RESULT)
    with pytest.raises(LeaseLostError):
        leases.finish(lease, RESULT)
    assert leases.claim(job.id, "0").reason == "not-needed"


def test_a_heartbeat_keeps_the_lease(desk, sample, leases, others):
    job = sample(n_molecules=4)
    lease = leases.claim(job.id, "0")
    for _ in range(3):
        time.sleep(desk.settings.lease_seconds / 2)
        assert leases.beat(lease) == ""
    assert others.claim(job.id, "0").reason == "busy"


def test_giving_back_does_not_count_an_attempt(sample, leases, desk):
    job = sample(n_molecules=4)
    for _ in range(5):
        lease = leases.claim(job.id, "0")
        assert lease.attempt == 1
        leases.beat(lease, {"done": 2, "valid": 1, "steps": 3, "steps_total": 20})
        assert leases.release(lease) == "queued"
    progress = desk.store.get(job.id).progress
    assert (progress.done, progress.valid, progress.steps, progress.steps_total) == (0, 0, 0, 0)


def test_repeated_attempts_count_progress_once(sample, leases, desk):
    job = sample(n_molecules=8)
    for attempt in (1, 2):
        lease = leases.claim(job.id, "0")
        leases.beat(lease, {"done": 1, "steps": 5, "steps_total": 20})
        leases.beat(lease, {"done": 3, "steps": 15, "steps_total": 20})
        assert desk.store.get(job.id).progress.done == 3
        if attempt == 1:
            assert leases.fail(lease, Internal("again"), again=True) == "queued"
    leases.finish(lease, RESULT)
    progress = desk.store.get(job.id).progress
    assert (progress.done, progress.valid, progress.steps, progress.steps_total) == (4, 3, 20, 20)


def test_a_problem_that_cannot_pass_fails_the_job_at_once(sample, leases, desk):
    job = sample(n_molecules=8)
    assert leases.fail(leases.claim(job.id, "0"), Internal("hopeless"), again=False) == "ended"
    job = desk.store.get(job.id)
    assert job.status is JobStatus.FAILED and job.problem["detail"] == "hopeless"
    assert leases.claim(job.id, "1").reason == "ended"


# --- stopping -------------------------------------------------------------------------------------------


def test_canceling_a_waiting_job_ends_it_at_once(sample, desk):
    job = desk.cancel(sample(n_molecules=8).id)
    assert job.status is JobStatus.CANCELED and job.problem["type"] == "/problems/canceled"
    assert desk.store.counts().model_dump() == {
        "jobs": 0,
        "molecules": 0,
        "evaluations": 0,
        "waiting_shards": 0,
        "running_shards": 0,
    }


def test_canceling_a_running_job_waits_for_its_workers_and_keeps_what_is_done(sample, leases, desk):
    job = sample(n_molecules=12)
    leases.finish(leases.claim(job.id, "0"), RESULT)
    lease = leases.claim(job.id, "1")
    assert desk.cancel(job.id).stopping == "canceled"
    assert leases.stopping(lease) == leases.beat(lease) == "canceled"
    assert leases.claim(job.id, "2").reason == "not-needed"
    assert leases.finish(lease, RESULT | {"rows": 2, "valid": 2}) == FINAL
    leases.complete(leases.claim(job.id, FINAL), "files-1", [], 5)
    job = desk.store.get(job.id)
    assert job.status is JobStatus.CANCELED and job.progress.done == 6


def test_canceling_an_ended_job_changes_nothing(sample, leases, desk):
    job = sample(n_molecules=4)
    finish_all(leases, job)
    assert desk.cancel(job.id).status is JobStatus.SUCCEEDED


def test_a_canceled_job_whose_worker_died_ends_too(sample, leases, desk):
    job = sample(n_molecules=4)
    leases.claim(job.id, "0")
    desk.cancel(job.id)
    wait_for_lease_end(desk)
    Reconciler(desk).reconcile()
    assert desk.store.get(job.id).status is JobStatus.CANCELED


def test_a_deadline_is_checked_before_work_starts(sample, leases, desk):
    job = sample(n_molecules=4, deadline_seconds=0.1)
    time.sleep(0.15)
    assert leases.claim(job.id, "0").reason == "expired"
    job = desk.store.get(job.id)
    assert job.status is JobStatus.EXPIRED and job.problem["type"] == "/problems/deadline"


def test_the_reconciler_expires_jobs_that_nobody_claims(sample, desk):
    job = sample(n_molecules=4, deadline_seconds=0.1)
    time.sleep(0.15)
    Reconciler(desk).reconcile()
    assert desk.store.get(job.id).status is JobStatus.EXPIRED


# --- idempotency, bounds, lists ---------------------------------------------------------------------------


def test_the_same_key_and_request_give_the_same_job(sample):
    first = sample(n_molecules=4, idempotency_key="k")
    assert sample(n_molecules=4, idempotency_key="k").id == first.id
    assert sample(n_molecules=4, idempotency_key="k", owner="somebody else").id != first.id
    with pytest.raises(IdempotencyConflict):
        sample(n_molecules=5, idempotency_key="k")


def test_a_repeated_key_races_to_one_job(desk, sample):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(sample(n_molecules=4, idempotency_key="k").id))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert desk.store.counts().jobs == 1


@pytest.mark.parametrize(
    ("bound", "problem"),
    [
        ({"queue_max_jobs": 2}, QueueFull),
        ({"queue_max_molecules": 9}, QueueFull),
        ({"queue_max_evaluations": 45}, QueueFull),
        ({"owner_max_jobs": 2}, LimitExceeded),
        ({"owner_max_molecules": 9}, LimitExceeded),
    ],
)
def test_the_queue_is_bounded_and_frees_up(bound, problem, settings, server, card):
    from tester.schemas import TestRequest

    desk = Desk.open(settings.model_copy(update=bound))
    submit = lambda: desk.submit(TestRequest(n_molecules=4, seed=1), "sample", card=card)[0]  # noqa: E731
    first, _ = submit(), submit()
    with pytest.raises(problem) as caught:
        submit()
    assert int(caught.value.headers["Retry-After"]) >= 1
    desk.cancel(first.id)
    submit()
    desk.store.redis.close()


def test_a_job_that_asks_for_too_much_is_refused_before_anything_is_stored(desk, sample):
    with pytest.raises(TooLarge):
        sample(n_molecules=10_001)
    with pytest.raises(TooLarge):
        sample(n_molecules=10_000, steps=1_001)
    assert desk.store.counts().jobs == 0


def test_finished_shards_leave_the_load(sample, leases, desk):
    job = sample(n_molecules=8)
    assert (desk.store.counts().molecules, desk.store.counts().evaluations) == (8, 40)
    leases.finish(leases.claim(job.id, "0"), RESULT)
    assert (desk.store.counts().molecules, desk.store.counts().evaluations) == (4, 20)
    leases.finish(leases.claim(job.id, "1"), RESULT)
    leases.complete(leases.claim(job.id, FINAL), "files-1", [], 8)
    assert desk.store.counts().model_dump() == dict.fromkeys(desk.store.counts().model_dump(), 0)


def test_pages_go_through_all_jobs_newest_first_without_repeats(sample, desk):
    made = [sample(n_molecules=1, labels={"n": str(i)}, owner="ab"[i % 2]).id for i in range(7)]
    seen, cursor = [], None
    while True:
        page = desk.store.page(limit=3, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen, reverse=True) == seen and set(seen) == set(made) and len(seen) == 7
    assert [job.id for job in desk.store.page(labels={"n": "3"}).jobs] == [made[3]]
    assert {job.owner for job in desk.store.page(owner="a").jobs} == {"a"}
    assert desk.store.page(status=JobStatus.FAILED).jobs == ()
    with pytest.raises(NotFound):
        desk.store.get(made[0], owner="b")


def test_events_can_be_replayed_from_any_of_them(sample, leases, desk):
    job = sample(n_molecules=4)
    finish_all(leases, job)
    events = desk.store.events(job.id)
    assert [event.data["status"] for event in events if event.kind == "status"] == [
        "queued",
        "running",
        "succeeded",
    ]
    for i, event in enumerate(events):
        assert desk.store.events(job.id, after=event.id) == events[i + 1 :]
    assert desk.store.events(job.id, after="nonsense; FLUSHALL") == events


# --- deletion and repair ----------------------------------------------------------------------------------


def test_deleting_removes_everything_and_refuses_the_worker(sample, leases, desk, read):
    job = read(smiles=["C"])
    lease = leases.claim(job.id, "0")
    assert desk.files.exists(job.id, "input.smi")
    assert desk.delete(job.id) and not desk.delete(job.id)
    assert leases.stopping(lease) == "deleted"
    with pytest.raises(LeaseLostError):
        leases.finish(lease, RESULT)
    assert not desk.files.exists(job.id, "")
    left = [key for key in desk.store.redis.keys("*") if job.id in key]
    assert left == []
    assert desk.store.counts().jobs == 0


def test_results_go_after_their_retention_time(settings, server, card, leases):
    from tester.schemas import TestRequest

    desk = Desk.open(settings.model_copy(update={"retention_seconds": 0.2}))
    leases = Leases(desk.store, "w")
    job = desk.submit(TestRequest(n_molecules=4), "sample", card=card)[0]
    finish_all(leases, job)
    desk.files.write_bytes(job.id, "molecules.sdf", b"x")
    Reconciler(desk).reconcile()
    assert desk.store.get(job.id).ended
    time.sleep(0.25)
    Reconciler(desk).reconcile()
    with pytest.raises(NotFound):
        desk.store.get(job.id)
    assert not desk.files.exists(job.id, "molecules.sdf")
    desk.store.redis.close()


def test_a_unit_whose_workers_always_fall_silent_fails_the_job(sample, desk, leases):
    job = sample(n_molecules=4)
    reconciler = Reconciler(desk)
    for attempt in (1, 2, 3):
        assert leases.claim(job.id, "0").attempt == attempt
        wait_for_lease_end(desk)
        reconciler.reconcile()
    job = desk.store.get(job.id)
    assert job.status is JobStatus.FAILED and job.problem["type"] == "/problems/worker-lost"


def test_the_reconciler_knows_which_messages_the_broker_holds(sample, desk):
    job = sample(n_molecules=12)
    reconciler = Reconciler(desk)
    assert set(reconciler.messages()) == {f"{job.id}/{i}" for i in range(3)}
    time.sleep(desk.settings.lost_message_seconds + 0.1)
    reconciler.reconcile()
    assert sorted(reconciler.messages()) == [f"{job.id}/{i}" for i in range(3)]  # none was sent twice


def test_further_candidates_become_further_shards(sample, desk, leases):
    job = sample(n_molecules=4)
    leases.finish(leases.claim(job.id, "0"), RESULT)
    final = leases.claim(job.id, FINAL)
    following, units = leases.extend(final, [ShardPlan(start=4, count=3)], 5)
    assert (following, units) == ("", ["1"])
    assert desk.store.get(job.id).progress.total == 7
    assert desk.store.counts().evaluations == 15
    assert leases.claim(job.id, FINAL).reason == "not-needed"
    assert leases.finish(leases.claim(job.id, "1"), RESULT) == FINAL
    leases.complete(leases.claim(job.id, FINAL), "files-1", [], 7)
    assert desk.store.get(job.id).status is JobStatus.SUCCEEDED
    assert desk.store.counts().evaluations == 0


def test_without_a_server_the_problem_says_so(settings, card):
    from tester.schemas import TestRequest

    desk = Desk.open(settings)
    assert not desk.store.ping()
    with pytest.raises(StoreUnavailable):
        desk.submit(TestRequest(n_molecules=1), "sample", card=card)
