"""Children that hang, exhaust memory, crash; callers that are daemonic, threaded, forked or killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import billiard
import pytest

from chemistry.guard import Guard, GuardClosedError
from chemistry.reasons import Failure

ENDLESS = (sum, range(10**15))  # holds the interpreter lock and ignores signals, as RDKit does


@pytest.fixture
def guard():
    with Guard(timeout_seconds=1.0) as made:
        yield made


def code_of(answer):
    assert isinstance(answer, Failure), answer
    return answer.reasons[0].code


def test_values_come_back_and_the_child_is_reused(guard):
    assert guard.call(divmod, 7, 2) == (3, 1)
    assert guard.call(sorted, [2, 1], reverse=True) == [2, 1]
    assert guard.call(os.getpid) == guard.call(os.getpid) != os.getpid()
    assert guard.statistics.started == 1


def test_a_call_costs_milliseconds_once_the_child_runs(guard):
    guard.call(abs, -1)
    started = time.perf_counter()
    for _ in range(100):
        guard.call(abs, -1)
    assert (time.perf_counter() - started) / 100 < 0.02


def test_large_requests_and_answers_pass(guard):
    payload = os.urandom(5_000_000)
    assert guard.call(bytes, payload) == payload


def test_errors_of_the_function_are_raised_here_and_the_child_lives_on(guard):
    child = guard.call(os.getpid)
    with pytest.raises(ValueError, match="invalid literal"):
        guard.call(int, "x")
    assert guard.call(os.getpid) == child


def test_a_function_that_the_child_cannot_import_is_an_error_that_names_it(guard, monkeypatch):
    nowhere = ModuleType("only_here")
    exec("def function(): pass", nowhere.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", nowhere)  # a module that no child can find on disk
    with pytest.raises((ImportError, AttributeError), match="only_here"):
        guard.call(nowhere.function)
    assert guard.call(abs, -3) == 3


def test_what_the_function_prints_does_not_disturb_the_answers(guard):
    assert guard.call(print, "noise") is None
    assert guard.call(os.write, 1, b"more noise") == 10
    assert guard.call(abs, -3) == 3


def test_a_hanging_call_is_stopped_in_time_and_the_next_one_works(guard):
    guard.call(abs, -1)
    started = time.monotonic()
    assert code_of(guard.call(*ENDLESS)) == "timeout"
    assert time.monotonic() - started < 3
    assert guard.call(abs, -3) == 3
    assert guard.statistics.timeouts == 1


def test_too_much_memory_is_a_failure_and_the_next_call_works():
    with Guard(timeout_seconds=20, memory_bytes=1 << 30) as guard:
        assert code_of(guard.call(bytearray, 4 << 30)) == "memory"
        assert guard.call(abs, -3) == 3


@pytest.mark.parametrize(("function", "arguments"), [(os.abort, ()), (os._exit, (3,))])
def test_a_crash_is_a_failure_that_says_how_it_ended(guard, function, arguments):
    answer = guard.call(function, *arguments)
    assert code_of(answer) == "crash"
    assert ("SIGABRT" in str(answer)) or ("status 3" in str(answer))
    assert guard.call(abs, -3) == 3


def test_a_child_that_died_while_idle_is_replaced(guard):
    os.kill(guard.call(os.getpid), signal.SIGKILL)
    time.sleep(0.1)
    assert guard.call(abs, -3) == 3


def test_children_are_replaced_after_their_last_task():
    with Guard(max_tasks=2) as guard:
        pids = [guard.call(os.getpid) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_map_keeps_order_and_spoils_only_the_items_that_fail():
    with Guard(max_workers=2, timeout_seconds=1.0) as guard:
        answers = guard.map(time.sleep, [0, 5, 0, 0])
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False, False]
    assert answers[0] is None


def test_threads_share_a_guard_and_wait_for_a_free_child():
    with Guard(max_workers=2) as guard, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: guard.call(abs, -n), range(40))) == list(range(40))
        assert guard.statistics.started <= 2


def test_a_closed_guard_says_so(guard):
    guard.close()
    with pytest.raises(GuardClosedError):
        guard.call(abs, -1)


def test_closing_leaves_no_child(guard):
    child = guard.call(os.getpid)
    guard.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def use_guards(shared, connection):
    """In a forked, daemonic process: a guard made before the fork and one made here."""
    with Guard(timeout_seconds=1.0) as own:
        hung = own.call(*ENDLESS)
        connection.send((shared.call(os.getpid), own.call(abs, -3), hung.reasons[0].code))
    shared.close()
    connection.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("library", [billiard, multiprocessing], ids=["celery's billiard", "multiprocessing"])
def test_guards_work_in_daemonic_children_and_across_a_fork(guard, library):
    before = guard.call(os.getpid)
    context = library.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=use_guards, args=(guard, sender), daemon=True)
    process.start()
    try:
        assert receiver.poll(30)
        shared, value, code = receiver.recv()
    finally:
        process.join(30)
    assert process.exitcode == 0
    assert (value, code) == (3, "timeout")
    assert shared != before  # the fork got a child of its own
    assert guard.call(os.getpid) == before  # and left ours alone


@pytest.mark.slow
def test_a_hanging_child_does_not_outlive_a_parent_that_was_killed():
    program = textwrap.dedent("""
        import os, sys
        from chemistry.guard import Guard
        guard = Guard(timeout_seconds=1.0)
        print(guard.call(os.getpid), flush=True)
        guard.timeout_seconds = 2.0
        guard.call(sum, range(10**15))
    """)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    deadline = time.monotonic() + 120  # the limit is of processor time, which a busy machine gives slowly
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def is_running(pid):
    """Whether a process exists and has not ended (a zombie has, though nobody has collected it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_calls_from_a_thread_survive_the_end_of_the_thread_that_started_the_child(guard):
    pids = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: pids.append(guard.call(os.getpid)))
        thread.start()
        thread.join()
    assert pids[0] == pids[1]
