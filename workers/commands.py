"""`equimol worker`: one Celery worker with one child, its reconciler and its health file."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from celery import Celery, bootsteps, signals
from celery.exceptions import SecurityWarning

from workers.logs import configure_logging
from workers.presence import Presence
from workers.problems import StoreUnavailable
from workers.queue import QUEUES, make_celery
from workers.reconciler import Reconciler
from workers.settings import Settings
from workers.submit import Desk
from workers.tasks import Child, Flags, register
from workers.version import __version__

_log = logging.getLogger(__name__)


def worker(
    queues: Annotated[str, typer.Option(help="The queues to serve, most urgent first.")] = ",".join(QUEUES),
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the network on a CPU.")] = None,
    health_file: Annotated[
        Path | None, typer.Option(help="A file that is touched while the worker is well; for health checks.")
    ] = None,
) -> None:
    """Work on jobs until stopped (SIGTERM or Ctrl-C: running shards go back to the queue)."""
    changes: dict[str, Any] = {"device": device, "torch_threads": threads}
    settings = Settings(**{name: value for name, value in changes.items() if value is not None})
    configure_logging(settings)
    names = [name.strip() for name in queues.split(",") if name.strip()]
    unknown = sorted(set(names) - set(QUEUES))
    if unknown or not names:
        raise typer.BadParameter(f"unknown queue {', '.join(unknown)}; choose from {', '.join(QUEUES)}")
    raise typer.Exit(run_worker(settings, names, health_file))


def run_worker(settings: Settings, queues: list[str], health_file: Path | None = None) -> int:
    """Start the worker and return its exit code. Touches no CUDA: that is the child's."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    flags = Flags()
    app = make_celery(settings)
    desk = Desk.open(settings)
    register(app, Child(settings, name, queues, flags))
    pulse = Pulse(desk, name, queues, flags, health_file)
    pulse.attach(app)
    reconciler = Reconciler(desk)

    def shutting_down(**_: Any) -> None:
        flags.shutting_down = True
        # A child that does not listen is killed; its lease and message then take the slow way.
        timer = threading.Timer(settings.shutdown_seconds, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()

    signals.worker_shutting_down.connect(shutting_down, weak=False)
    # Before the child loads torch: OpenMP threads that spin while they wait made sampling nine times slower on a
    # machine with other work (80 s against 8.9 s).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Celery warns root users because of pickle, which we do not accept.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    reconciler.start()
    pulse.start()
    try:
        celery_worker = app.Worker(
            hostname=f"equimol@{name}",
            queues=queues,
            pool="prefork",
            concurrency=1,
            optimization="fair",
            loglevel=settings.log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            task_events=False,
            quiet=True,
        )
        celery_worker.start()
        return 1 if flags.failed else int(celery_worker.exitcode or 0)
    finally:
        reconciler.stop()
        pulse.stop()


class Pulse:
    """The worker's sign of life: Celery's event loop turns a counter, a thread tells the store and a file.

    When the loop stands still the worker ends itself: container engines do not restart what is merely
    unhealthy.
    """

    def __init__(
        self, desk: Desk, name: str, queues: list[str], flags: Flags, health_file: Path | None
    ) -> None:
        self._settings = desk.settings
        self._presence = Presence(desk.store, name)
        self._queues, self._flags, self._health_file = queues, flags, health_file
        self._turned = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def attach(self, app: Celery) -> None:
        """Let the consumer's event loop turn the counter, also after a reconnection."""
        pulse = self

        class Turn(bootsteps.StartStopStep):  # type: ignore[misc]
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:
                self.entry = consumer.timer.call_repeatedly(1.0, pulse.turn)

            def stop(self, consumer: Any) -> None:  # noqa: ARG002
                entry = getattr(self, "entry", None)
                if entry is not None:
                    entry.cancel()

        app.steps["consumer"].add(Turn)

    def turn(self) -> None:
        """The event loop is alive."""
        self._turned = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The worker ends."""
        self._stop.set()
        self._thread.join(timeout=5)
        if self._health_file is not None:
            self._health_file.unlink(missing_ok=True)

    def _run(self) -> None:
        facts = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": ",".join(self._queues),
            "version": __version__,
            "started": time.time(),
        }
        while True:
            age = time.monotonic() - self._turned
            try:
                self._presence.tell(**facts, ready=self._flags.ready, loop_age=round(age, 1))
                if (
                    self._health_file is not None
                    and self._flags.ready
                    and age < self._settings.visibility_seconds
                ):
                    self._health_file.touch()
            except StoreUnavailable as error:
                # Without Redis the loop cannot turn either: that is no reason to restart.
                self._turned = time.monotonic()
                _log.warning("the store does not answer: %s", error)
            if age > self._settings.loop_seconds:
                _log.critical("the worker's event loop stands still: ending the worker")
                os.kill(os.getpid(), signal.SIGKILL)
            if self._stop.wait(self._settings.heartbeat_seconds):
                break
        try:
            self._presence.leave()
        except StoreUnavailable:
            return
