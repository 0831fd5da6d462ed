"""Where the Redis server is, as redis-py and as Celery write it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workers.problems import StoreUnavailable
from workers.settings import Settings

if TYPE_CHECKING:  # redis takes a fifth of a second to import, so that happens at the first connection
    import redis
    import redis.asyncio

SOCKET_SECONDS = 30.0
"""How long a command may take; blocking reads wait for less."""

_SOCKET_LIMIT = 100  # sun_path holds 108 bytes


def redis_url(settings: Settings) -> str:
    """The configured URL, or the socket of the embedded server that belongs to the data folder."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return f"unix://{embedded_socket(settings)}"


def embedded_socket(settings: Settings) -> Path:
    """The embedded server's socket: in the data folder, or in the user's runtime folder when that path is too
    long.
    """
    folder = settings.data_folder.expanduser().resolve()
    path = folder / "redis" / "redis.sock"
    if len(str(path).encode()) <= _SOCKET_LIMIT:
        return path
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/equimol-{os.getuid()}"
    return Path(base) / f"{name}.sock"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn a server that does not answer into StoreUnavailable; also a decorator."""
    import redis

    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreUnavailable(f"Redis does not answer: {error}") from error


def redis_client(settings: Settings) -> redis.Redis:
    """A client that answers in text and rides out a short restart of the server."""
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        redis_url(settings),
        decode_responses=True,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=5,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        retry_on_error=[redis.ConnectionError, redis.BusyLoadingError],
    )


def async_redis_client(settings: Settings) -> redis.asyncio.Redis:
    """The same for asyncio: the API follows event streams with it, so that waiting clients hold no thread."""
    import redis.asyncio

    # No socket timeout: reading events blocks, and a slow machine must not turn silence into an error.
    return redis.asyncio.Redis.from_url(
        redis_url(settings),
        decode_responses=True,
        socket_timeout=None,
        socket_connect_timeout=5,
        health_check_interval=10,
    )


def broker_url(settings: Settings) -> str:
    """The same server as Celery's transport writes it."""
    url = redis_url(settings)
    if not url.startswith("unix://"):
        return url
    return f"redis+socket://{url.removeprefix('unix://')}".replace("?db=", "?virtual_host=")
