"""Keeps a unit of work alive from a thread: the lease in the store, and the message in Celery's transport."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

import redis

from workers.leases import Lease, LeaseLostError, Leases
from workers.problems import StoreUnavailable
from workers.queue import broker_prefix
from workers.settings import Settings

_log = logging.getLogger(__name__)


def end_process() -> None:
    """End this process for certain, also while it hangs in a kernel; the worker's parent starts a new one."""
    os.kill(os.getpid(), signal.SIGKILL)


class Heartbeat:
    """Beats while its block runs and the work moves on.

    A lease that cannot be renewed because Redis is away is kept: it is still ours when Redis is back, unless
    somebody took the unit over. When nothing moves for `stall_seconds`, `stalled` is called (by default the
    process ends itself).
    """

    def __init__(
        self,
        settings: Settings,
        leases: Leases,
        lease: Lease,
        delivery_tag: str | None,
        stalled: Callable[[], None] = end_process,
    ) -> None:
        self._settings, self._leases, self._lease = settings, leases, lease
        self._delivery_tag = delivery_tag
        self._stalled = stalled
        self._ended = threading.Event()
        self._moved = time.monotonic()
        self.lost = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def touch(self) -> None:
        """The work has moved on."""
        self._moved = time.monotonic()

    def _run(self) -> None:
        while not self._ended.wait(self._settings.heartbeat_seconds):
            if time.monotonic() - self._moved > self._settings.stall_seconds:
                _log.error("unit %s of job %s does not move: ending it", self._lease.unit, self._lease.job_id)
                self._stalled()
                return
            try:
                self._leases.beat(self._lease)
                self._keep_message()
            except LeaseLostError:
                self.lost = True
                return
            except (redis.RedisError, StoreUnavailable) as error:
                _log.warning("heartbeat of job %s did not get through: %s", self._lease.job_id, error)

    def _keep_message(self) -> None:
        """Renew the score by which Celery's Redis transport judges whether a message was abandoned."""
        if self._delivery_tag is not None:
            index = f"{broker_prefix(self._settings)}unacked_index"
            self._leases.store.redis.zadd(index, {self._delivery_tag: time.time()}, xx=True)
