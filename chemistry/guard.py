"""Run a function in a child process that can be killed: wall clock, memory, crashes.

RDKit calls that hang ignore signals and hold the interpreter lock, so only another process can stop them.
The children are plain `subprocess` programs with pipes, not `multiprocessing` ones: they start inside
daemonic processes such as Celery's and never import the caller's `__main__`. A child serves many calls, one
at a time.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ParamSpec, Self, TypeVar, cast

from chemistry import guard_child
from chemistry.errors import ChemistryError
from chemistry.reasons import Failure

_P = ParamSpec("_P")
_T = TypeVar("_T")
_STARTUP_SECONDS = 60.0


class GuardClosedError(ChemistryError, RuntimeError):
    """A call on a guard that was closed."""

    code = "guard-closed"


class GuardStartError(ChemistryError, TimeoutError):
    """A child process that was not ready in time."""

    code = "guard-start"


@dataclass
class Statistics:
    """What a guard has done: children started, calls answered, children killed by cause."""

    started: int = 0
    calls: int = 0
    timeouts: int = 0
    crashes: int = 0


class Guard:
    """A pool of at most `max_workers` killable children, started when first needed.

    `timeout_seconds` is per call, `memory_bytes` bounds a child's address space, and after `max_tasks` calls
    a child is replaced. Safe to share between threads; a process that forks gets children of its own.
    """

    def __init__(
        self,
        max_workers: int = 1,
        timeout_seconds: float = 20.0,
        memory_bytes: int = 4 * 2**30,
        max_tasks: int = 10_000,
    ) -> None:
        if max_workers < 1 or timeout_seconds <= 0 or max_tasks < 1:
            raise ValueError("max_workers, timeout_seconds and max_tasks must be positive")
        self.max_workers = max_workers
        self.timeout_seconds = timeout_seconds
        self.memory_bytes = memory_bytes
        self.max_tasks = max_tasks
        self.statistics = Statistics()
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._slots = threading.BoundedSemaphore(self.max_workers)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Failure:
        """`function(*args, **kwargs)` in a child: its value, or a Failure (timeout, memory, crash).

        `function` must be importable by name and its arguments and value picklable. Errors that the function
        raises are raised here. Waits while all children are busy.
        """
        if self._owner != os.getpid():
            self._forget_inherited()
        if self._closed:
            raise GuardClosedError("this guard was closed; make another one")
        request = pickle.dumps((function, args, kwargs), protocol=pickle.HIGHEST_PROTOCOL)
        with self._slots:
            child = self._take(_module_of(function))
            alive = False
            try:
                kind, answer, alive = self._ask(child, request)
            finally:
                self._give_back(child, alive)
        if kind == "error":
            raise answer
        return cast("_T | Failure", answer)

    def map(self, function: Callable[[Any], _T], items: Iterable[Any]) -> list[_T | Failure]:
        """`call` for every item, as many at once as there are children; answers in order."""
        with ThreadPoolExecutor(self.max_workers) as threads:
            return list(threads.map(lambda item: self.call(function, item), items))

    def close(self) -> None:
        """End every child; later calls raise GuardClosedError."""
        self._closed = True
        if self._owner == os.getpid():
            with self._lock:
                idle, self._idle = self._idle, []
            for child in idle:
                child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, module: str) -> _Child:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                self.statistics.started += 1
                return _Child(self.memory_bytes, module)
            if child.process.poll() is None:
                return child
            child.end()  # it died while idle

    def _give_back(self, child: _Child, alive: bool) -> None:
        child.calls += 1
        if alive and child.calls < self.max_tasks and not self._closed:
            with self._lock:
                self._idle.append(child)
        else:
            child.end()

    def _ask(self, child: _Child, request: bytes) -> tuple[str, Any, bool]:
        """Kind of answer, the answer, and whether the child can serve again."""
        self.statistics.calls += 1
        limit = f"{self.timeout_seconds:g} s"
        try:
            kind, value = child.ask(request, self.timeout_seconds)
        except TimeoutError:
            self.statistics.timeouts += 1
            return "failure", Failure.because("timeout", f"stopped after {limit}, the time limit"), False
        except (EOFError, OSError):
            self.statistics.crashes += 1
            cause = _cause(child.process.wait(_STARTUP_SECONDS))
            return "failure", Failure.because("crash", f"the calculation ended its process ({cause})"), False
        if kind == "memory":
            limit = f"{self.memory_bytes // 2**20} MiB"
            return kind, Failure.because("memory", f"stopped at {limit} of memory, the limit"), False
        return kind, value, True

    def _forget_inherited(self) -> None:
        """After a fork the children belong to the parent: drop our copies of their pipes, no more."""
        inherited = self._idle
        self._reset()
        for child in inherited:
            child.disown()


def _module_of(function: object) -> str:
    """Where `function`, or what it is a partial of, is defined."""
    return str(getattr(getattr(function, "func", function), "__module__", "builtins"))


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


class _Child:
    """One child process and its two pipes."""

    def __init__(self, memory_bytes: int, module: str) -> None:
        # -P keeps the script's own folder off the path, where our module names could shadow others.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(guard_child.__file__))],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self.calls = 0
        # Wait until it has imported what the first call needs: starting is no part of a call's time limit.
        try:
            self._exchange(pickle.dumps((list(sys.path), memory_bytes, [module])), _STARTUP_SECONDS)
        except TimeoutError as error:
            self.end()
            raise GuardStartError(
                f"a child process for {module} was not ready after {_STARTUP_SECONDS:g} s, and it usually takes a "
                "few; the machine is overloaded. Try again with less beside it."
            ) from error
        except BaseException:
            self.end()
            raise

    def ask(self, request: bytes, timeout: float) -> tuple[str, Any]:
        """Make one call. Raises TimeoutError, EOFError or OSError when no answer came."""
        return self._exchange(pickle.dumps(timeout) + request, timeout)

    def _exchange(self, message: bytes, timeout: float) -> tuple[str, Any]:
        deadline = time.monotonic() + timeout
        guard_child.send(cast("IO[bytes]", self.process.stdin).fileno(), message)
        (size,) = guard_child.HEADER.unpack(self._read(guard_child.HEADER.size, deadline))
        return cast("tuple[str, Any]", pickle.loads(self._read(size, deadline)))

    def _read(self, size: int, deadline: float) -> bytes:
        descriptor = cast("IO[bytes]", self.process.stdout).fileno()
        pieces = []
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                piece = os.read(descriptor, min(size, 2**20))
                if not piece:
                    raise EOFError
                pieces.append(piece)
                size -= len(piece)
        return b"".join(pieces)

    def end(self) -> int:
        """Kill the process if it lives, collect it, close the pipes; return its exit status."""
        self.process.kill()
        status = self.process.wait()
        self.close_pipes()
        return status

    def disown(self) -> None:
        """Drop our copies of a parent's pipes; the process is not ours to wait for."""
        self.close_pipes()
        self.process.returncode = 0  # keeps Popen from complaining about a process left running

    def close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
