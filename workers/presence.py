"""Which workers are there: each tells the store about itself every few seconds."""

from __future__ import annotations

import time
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from workers.connection import store_errors
from workers.store import JobStore


class WorkerRecord(BaseModel):
    """A worker as it last told about itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    name: str
    host: str = ""
    pid: int = 0
    queues: str = ""
    device: str = ""
    models: str = ""
    version: str = ""
    ready: bool = False
    started: float = 0.0
    seen: float = 0.0
    loop_age: float = 0.0  # seconds since Celery's event loop last turned


class Presence:
    """One worker's entry, gone by itself when it is not renewed."""

    def __init__(self, store: JobStore, worker: str) -> None:
        self.store, self.worker = store, worker
        self._key = store.key("worker", worker)
        self._seconds = round(max(30.0, 6 * store.settings.heartbeat_seconds))

    @store_errors()
    def tell(self, **values: Any) -> None:
        """Renew the entry and set some of its values."""
        told: Any = {
            name: " ".join(value) if isinstance(value, list) else str(value) for name, value in values.items()
        }
        pipe = self.store.redis.pipeline(transaction=False)
        pipe.hset(self._key, mapping=told | {"name": self.worker, "seen": str(time.time())})
        pipe.expire(self._key, self._seconds)
        pipe.zadd(self.store.key("workers"), {self.worker: time.time()})
        pipe.execute()

    @store_errors()
    def leave(self) -> None:
        """Remove the entry."""
        self.store.redis.delete(self._key)
        self.store.redis.zrem(self.store.key("workers"), self.worker)


@store_errors()
def present_workers(store: JobStore) -> list[WorkerRecord]:
    """The workers that told about themselves lately."""
    index = store.key("workers")
    names = cast("list[str]", store.redis.zrange(index, 0, -1))
    pipe = store.redis.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(store.key("worker", name))
    found = [WorkerRecord(**values) for values in pipe.execute() if "name" in values]
    gone = set(names) - {worker.name for worker in found}
    if gone:
        store.redis.zrem(index, *gone)
    return found
