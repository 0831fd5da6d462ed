"""The whole service on one machine: embedded job store, API and workers over one data folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from service.binding import check_exposure, listen, url_of
from service.cli.exits import CommandError
from service.cli.supervisor import Child, Supervisor
from service.keys import KeyRing
from service.places import data_folder, keys_file
from workers.embedded import EmbeddedServer
from workers.presence import present_workers
from workers.problems import StoreUnavailable
from workers.settings import Settings
from workers.store import JobStore

_TICK_SECONDS = 0.2


class Stack:
    """Everything that `equimol serve` runs. Use it through `running`."""

    def __init__(
        self, settings: Settings, workers: int, say: Callable[[str], None], log: IO[bytes] | None
    ) -> None:
        self.settings = settings
        self.say = say
        self.listener = listen(settings.host, settings.port)
        self.url = url_of(self.listener)
        self.server = EmbeddedServer(settings) if settings.redis_url is None else None
        self.store = JobStore.connect(settings)
        environment = os.environ | {
            "EQUIMOL_DATA_FOLDER": str(data_folder(settings)),
            "EQUIMOL_HOST": settings.host,
        }
        descriptor = self.listener.fileno()
        children = [
            Child("the API", _equimol("api", "--fd", str(descriptor)), environment, log, (descriptor,))
        ]
        for number in range(1, workers + 1):
            children.append(Child(f"worker {number}", _equimol("worker"), environment, log))
        self.supervisor = Supervisor(children, say)
        self.workers = workers

    def start(self) -> None:
        """Start the job store, then everything else."""
        if self.server is not None:
            self.server.start()
        self.supervisor.start()

    def tend(self) -> None:
        """Look after everything once."""
        if self.server is not None and self.server.pid is None:
            self.say("the job store ended; starting it again")
            self.server.stop()
            self.server.start()
        self.supervisor.tend()

    def run(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        """Look after everything until the condition holds. Raises CommandError when that takes too long."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not until():
            if deadline is not None and time.monotonic() > deadline:
                raise CommandError(f"the service did not get ready within {timeout:g} s; its log tells why")
            self.tend()
            time.sleep(_TICK_SECONDS)

    def stop(self) -> None:
        """Stop everything, the job store last, so that workers can still hand their work back."""
        self.supervisor.stop(self.settings.shutdown_seconds + 5)
        self.store.redis.close()
        if self.server is not None:
            self.server.stop()
        self.listener.close()

    def workers_ready(self) -> int:
        """How many workers have loaded their models."""
        try:
            return sum(worker.ready for worker in present_workers(self.store))
        except StoreUnavailable:
            return 0

    def api_answers(self) -> bool:
        """Whether the API is up; asked with a bare socket, to load no HTTP library for one line."""
        host, port = self.listener.getsockname()[:2]
        try:
            with socket.create_connection(
                (host if host != "0.0.0.0" else "127.0.0.1", port), 1.0
            ) as connection:
                connection.sendall(
                    b"GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


@contextmanager
def running(
    settings: Settings, *, workers: int, say: Callable[[str], None], log: IO[bytes] | None = None
) -> Iterator[Stack]:
    """The service, for as long as the block lasts; afterwards nothing of it runs."""
    check_exposure(settings.host, KeyRing(keys_file(settings)))
    with _only_one(data_folder(settings)) as note:
        stack = Stack(settings, workers, say, log)
        note({"pid": os.getpid(), "url": stack.url})
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


@contextmanager
def _only_one(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A lock on the data folder. Raises CommandError when another service runs on it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "serve.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CommandError(_already(lock.read(), folder)) from None

        def note(facts: dict[str, Any]) -> None:
            lock.seek(0)
            lock.truncate()
            lock.write(json.dumps(facts))
            lock.flush()

        yield note


def _already(text: str, folder: Path) -> str:
    try:
        facts = json.loads(text)
        who = f"at {facts['url']} (process {facts['pid']})"
    except (ValueError, KeyError, TypeError):
        who = "and just starting"
    remedy = "stop it first, or set EQUIMOL_DATA_FOLDER to another folder"
    return f"a service is already running {who} on {folder}; {remedy}"


def _equimol(*arguments: str) -> list[str]:
    # -P: a folder called `service` where the user happens to be must not be taken for ours.
    return [sys.executable, "-P", "-m", "service.cli", *arguments]
