"""Keeps child processes alive: starts them, starts the dead ones again, and stops all of them together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from service.cli.exits import CommandError

_QUICK_SECONDS = 20.0
_MOST_QUICK_DEATHS = 5
_LONGEST_PAUSE = 15.0


class GivenUpError(CommandError):
    """A child died again and again right after its start."""


@dataclass
class Child:
    """One process to keep alive. Ctrl-C in the terminal does not reach it; it dies with its parent."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    output: IO[bytes] | None = None
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started: float = field(default=0.0, init=False)
    quick_deaths: int = field(default=0, init=False)
    not_before: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Start the process."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            pass_fds=self.pass_fds,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """End the process and all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Supervisor:
    """Several children and one loop. `say` tells the user what happens."""

    def __init__(
        self, children: Sequence[Child], say: Callable[[str], None], first_pause: float = 0.5
    ) -> None:
        self.children = list(children)
        self.say = say
        self.first_pause = first_pause

    def start(self) -> None:
        """Start all children."""
        for child in self.children:
            child.start()

    def tend(self) -> None:
        """Start dead children again, after a pause that grows. Raises GivenUpError for a hopeless one."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.not_before:
                    child.start()
                continue
            code = child.process.poll()
            if code is None:
                continue
            child.kill_group()
            child.process = None
            child.quick_deaths = child.quick_deaths + 1 if now - child.started < _QUICK_SECONDS else 0
            if child.quick_deaths >= _MOST_QUICK_DEATHS:
                raise GivenUpError(f"{child.name} died {child.quick_deaths} times right after its start")
            pause = (
                min(self.first_pause * 2**child.quick_deaths, _LONGEST_PAUSE) if child.quick_deaths else 0.0
            )
            child.not_before = now + pause
            self.say(f"{child.name} ended ({_how(code)}); starting it again")

    def stop(self, patience: float) -> None:
        """Ask all children to end, and end those that do not within `patience` seconds."""
        running = [child for child in self.children if child.process is not None]
        for child in running:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for child in running:
            process = child.process
            if process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            child.kill_group()
            child.process = None


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _die_with_parent() -> None:
    """In the child before exec: Linux ends it when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
