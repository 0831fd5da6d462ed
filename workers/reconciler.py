"""Repairs what crashes leave behind: dead leases, lost messages, passed deadlines, results past their
retention.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

from workers.ids import id_milliseconds
from workers.leases import deadline_passed, worker_lost
from workers.problems import NotFound, StoreUnavailable
from workers.queue import QUEUES, broker_prefix
from workers.records import FINAL
from workers.submit import Desk

_log = logging.getLogger(__name__)
_BATCH = 500


class Reconciler:
    """Runs in every worker's parent and in the API process; a lock lets one of them act at a time.

    Every step is harmless when done twice: claims are compare-and-set, and a superfluous message is dropped.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk, self.settings, self.store = desk, desk.settings, desk.store
        self._name = secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._swept = time.monotonic()

    def start(self) -> None:
        """Run in a thread of this process until `stop`."""
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        from redis import RedisError

        while not self._stop.wait(self.settings.reconcile_seconds):
            try:
                if self._my_turn():
                    self.reconcile()
            except (RedisError, StoreUnavailable) as error:
                _log.warning("the store does not answer: %s", error)
            except Exception:
                _log.exception("reconciling failed; it goes on")

    def _my_turn(self) -> bool:
        key = self.store.key("reconciler")
        duration = round(max(4 * self.settings.reconcile_seconds, 5.0) * 1000)
        if self.store.redis.set(key, self._name, nx=True, px=duration):
            return True
        if self.store.redis.get(key) != self._name:
            return False
        self.store.redis.pexpire(key, duration)
        return True

    def reconcile(self) -> None:
        """Everything once."""
        self.expire_leases()
        self.expire_deadlines()
        self.resend_lost_messages()
        self.delete_old_jobs()
        if time.monotonic() - self._swept > 3600:
            self._swept = time.monotonic()
            self.delete_orphaned_folders()

    def expire_leases(self) -> None:
        """Units whose worker died or fell silent are queued again, or their job fails."""
        problem = worker_lost(self.store)
        for member in self._due("leases", self._now()):
            job_id, unit = member.split("/")
            answer = self.store.scripts.call("expire", id=job_id, unit=unit, problem=problem)
            if answer["outcome"] == "expired":
                _log.warning("unit %s of job %s lost its worker", unit, job_id)
                self._follow(job_id, unit, answer["next"])

    def expire_deadlines(self) -> None:
        """Jobs whose deadline has passed stop; what is finished is kept."""
        for job_id in self._due("deadlines", self._now()):
            answer = self.store.scripts.call("expire", id=job_id, problem=deadline_passed())
            self._follow(job_id, FINAL, answer.get("next", ""))

    def resend_lost_messages(self) -> None:
        """Units that have waited a while, and for which the broker holds no message, get a new one."""
        waiting = self._due("ready", self._now() - round(self.settings.lost_message_seconds * 1000))
        if not waiting:
            return
        present = set(self.messages())
        for member in waiting:
            if member not in present:
                _log.warning("the message for %s was lost: sending another", member)
                job_id, unit = member.split("/")
                self.store.redis.hincrbyfloat(self.store.key("metrics"), "lost_messages_total", 1)
                self._send(job_id, unit)

    def delete_old_jobs(self) -> None:
        """Jobs past their retention time go, with their files."""
        for job_id in self._due("retention", self._now()):
            _log.info("deleting job %s: its retention time has passed", job_id)
            self.desk.files.delete(job_id)  # files first: a crash in between leaves a record to try again
            self.store.delete(job_id)

    def delete_orphaned_folders(self) -> None:
        """Folders without a record (a crash between writing the input and the record), when a day old."""
        for job_id in self.desk.files.jobs():
            old = self._now() - id_milliseconds(job_id) > 86_400_000
            if old and not self.store.redis.exists(self.store.key("job", job_id)):
                self.desk.files.delete(job_id)

    def messages(self) -> Iterator[str]:
        """JOB/UNIT of every message that the broker holds, waiting or reserved by a worker."""
        prefix, client = broker_prefix(self.settings), self.store.redis
        for queue in QUEUES:
            start = 0
            while texts := cast("list[str]", client.lrange(prefix + queue, start, start + _BATCH - 1)):
                yield from (unit_of_message(json.loads(text)) for text in texts)
                start += len(texts)
        for text in cast("list[str]", client.hvals(f"{prefix}unacked")):
            yield unit_of_message(json.loads(text)[0])

    def _follow(self, job_id: str, unit: str, following: str) -> None:
        if following in ("queued", FINAL):
            self._send(job_id, unit if following == "queued" else FINAL)

    def _send(self, job_id: str, unit: str) -> None:
        try:
            queue = self.store.get(job_id).queue
        except NotFound:
            self.store.redis.zrem(self.store.key("ready"), f"{job_id}/{unit}")
            return
        if self.desk.queue.send(job_id, [unit], queue):
            self.store.redis.zadd(self.store.key("ready"), {f"{job_id}/{unit}": self._now()}, xx=True)

    def _due(self, name: str, until: int) -> list[str]:
        return cast(
            "list[str]", self.store.redis.zrangebyscore(self.store.key(name), 0, until, start=0, num=_BATCH)
        )

    def _now(self) -> int:
        """Milliseconds of the server's clock, the one that the scripts use."""
        seconds, micros = self.store.redis.time()
        return seconds * 1000 + micros // 1000


def unit_of_message(message: dict[str, Any]) -> str:
    """JOB/UNIT of one of our messages, from the task id in its headers."""
    job_id, _, unit = str(message["headers"]["id"]).partition(".")
    return f"{job_id}/{unit}"
