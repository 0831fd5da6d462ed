"""New jobs per minute and API key: a token bucket in Redis, so that several API processes share it."""

from __future__ import annotations

import math

from workers.connection import store_errors
from workers.problems import LimitExceeded
from workers.settings import Settings
from workers.store import JobStore

# The bucket holds one minute's jobs and fills evenly. Returns -1, or the milliseconds until the next token.
_SPEND = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local size, per_ms = tonumber(ARGV[1]), tonumber(ARGV[1]) / 60000
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(size, (tonumber(state[1]) or size) + (now - (tonumber(state[2]) or now)) * per_ms)
if tokens < 1 then return math.ceil((1 - tokens) / per_ms) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - 1), 'at', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return -1
"""


class RateLimit:
    """Counts the jobs that every caller submits; reading is free."""

    def __init__(self, store: JobStore, settings: Settings) -> None:
        self.per_minute = settings.requests_per_minute
        self._store = store
        self._script = store.redis.register_script(_SPEND)

    def spend(self, owner: str) -> None:
        """Count one job; raises LimitExceeded when the caller's minute is used up."""
        if not self.per_minute:
            return
        with store_errors():
            wait = int(self._script(keys=[self._store.key("rate", owner)], args=[self.per_minute]))
        if wait >= 0:
            raise LimitExceeded(
                f"this API key may submit {self.per_minute} jobs a minute", retry_after=math.ceil(wait / 1000)
            )
