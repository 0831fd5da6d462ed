"""The Celery task and what happens in the worker's child process around it."""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery, signals

from workers.engine import Engine, choose_device
from workers.families import CHEMISTRY
from workers.presence import Presence
from workers.problems import EquimolProblem
from workers.queue import TASK
from workers.runner import Runner
from workers.settings import Settings
from workers.submit import Desk

_log = logging.getLogger(__name__)


class Flags:
    """Three flags in memory that the worker's parent shares with its forked child."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 3)

    @property
    def shutting_down(self) -> bool:
        """Set by the parent: give the unit back and end."""
        return self._memory[0] == 1

    @shutting_down.setter
    def shutting_down(self, value: bool) -> None:
        self._memory[0] = int(value)

    @property
    def ready(self) -> bool:
        """Set by the child: the models are loaded."""
        return self._memory[1] == 1

    @ready.setter
    def ready(self, value: bool) -> None:
        self._memory[1] = int(value)

    @property
    def failed(self) -> bool:
        """Set by the child: it could not get ready."""
        return self._memory[2] == 1

    @failed.setter
    def failed(self, value: bool) -> None:
        self._memory[2] = int(value)


class Child:
    """The worker's child: made in the parent, comes alive in the child after the fork."""

    def __init__(self, settings: Settings, worker: str, queues: Sequence[str], flags: Flags) -> None:
        self.settings, self.worker, self.queues, self.flags = settings, worker, queues, flags
        self._runner: Runner | None = None

    def start(self, **_: Any) -> None:
        """After the fork: die with the parent and get ready. A worker that cannot is ended, not left idle."""
        die_with_parent()
        self.flags.ready = False
        try:
            self._get_ready()
        except Exception:
            _log.critical("the worker cannot start", exc_info=True)
            self.flags.failed = True
            os.kill(os.getppid(), signal.SIGTERM)

    def _get_ready(self) -> None:
        """Choose the device and load the models."""
        started = time.monotonic()
        device = choose_device(self.settings.device)
        if self.settings.torch_threads is not None:
            import torch

            torch.set_num_threads(self.settings.torch_threads)
        desk = Desk.open(self.settings)
        engine = Engine(self.settings, device)
        self._runner = Runner(desk, engine, self.worker, lambda: self.flags.shutting_down)
        loaded = self._warm_up(self._runner) if self.settings.warm_up else []
        self.flags.ready = True
        Presence(desk.store, self.worker).tell(device=describe(device), models=loaded)
        _log.info("ready on %s with %s after %.1f s", device, loaded, time.monotonic() - started)

    def _warm_up(self, runner: Runner) -> list[str]:
        """Load every model that is there; one that cannot be loaded fails its jobs, not the worker."""
        if "cpu" in self.queues:
            runner.engine.adapter(CHEMISTRY, None)
        loaded = []
        for card in runner.shelf.cards.values():
            try:
                runner.engine.adapter(card.family, card)
                loaded.append(card.id)
            except (EquimolProblem, ImportError) as error:
                _log.error("model %s cannot be loaded: %s", card.id, error)
        return loaded

    def work(self, job_id: str, unit: str, delivery_tag: str | None) -> None:
        """One message."""
        if self._runner is None:
            raise RuntimeError("the worker's child has not been started")
        self._runner.work(job_id, unit, delivery_tag)


def register(app: Celery, child: Child) -> None:
    """Attach the task and the child's start to a Celery app."""

    @app.task(name=TASK, bind=True)  # type: ignore[untyped-decorator]
    def work(task: Any, job_id: str, unit: str) -> None:
        child.work(job_id, unit, (task.request.properties or {}).get("delivery_tag"))

    signals.worker_process_init.connect(child.start, weak=False)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that no orphan keeps the device's memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def describe(device: str) -> str:
    """The device with its name."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"
