"""Loads the Lua scripts that change job records, and calls them with JSON arguments."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from workers.connection import store_errors
from workers.settings import Settings

if TYPE_CHECKING:
    import redis


@cache
def _source(name: str) -> str:
    folder = files("workers") / "lua"
    return (folder / "common.lua").read_text(encoding="utf-8") + (folder / f"{name}.lua").read_text(
        encoding="utf-8"
    )


class Scripts:
    """The scripts of one store; every call is one atomic step, or raises StoreUnavailable.

    Keys are built inside the scripts from a prefix, so the store needs one Redis server, not a Redis Cluster.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.prefix = settings.key_prefix
        self._common = {
            "history": settings.event_history,
            "retention": _milliseconds(settings.retention_seconds),
            "idempotency": _milliseconds(settings.idempotency_seconds),
            "lease": _milliseconds(settings.lease_seconds),
            "max_attempts": settings.max_attempts,
        }
        self._registered: dict[str, Any] = {}

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run one script; arguments that are None are left out, because Lua has no use for JSON's null."""
        if name not in self._registered:
            self._registered[name] = self.client.register_script(_source(name))
        given = {key: value for key, value in arguments.items() if value is not None}
        payload = json.dumps(given | {"settings": self._common})
        with store_errors():
            answer = self._registered[name](args=[self.prefix, payload])
        result: dict[str, Any] = json.loads(answer)
        return result


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
