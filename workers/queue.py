"""The Celery side: the app with its measured settings, and sending messages.

A message is a hint, the record is the truth.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workers.connection import broker_url
from workers.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

QUEUES = ("interactive", "cpu", "batch")
"""In the order in which a worker that serves several of them looks for work."""

TASK = "equimol.work"
_log = logging.getLogger(__name__)


def make_celery(settings: Settings) -> Celery:
    """The app; makes no connection. Why each value is as it is stands in docs/jobs.md."""
    from celery import Celery  # a quarter of a second, which processes that only read jobs need not pay

    url = broker_url(settings)
    app = Celery("equimol", broker=url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_time_limit=settings.shard_limit_seconds,
        task_serializer="json",
        accept_content=["json"],
        task_queues=_queues(),
        task_default_queue="batch",
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_max_tasks_per_child=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,  # its pub/sub connection was behind most silent workers
        worker_proc_alive_timeout=600.0,  # the child imports torch and loads models before it says that it is up
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport_options(settings),
        broker_use_ssl={"ssl_cert_reqs": ssl.CERT_REQUIRED} if url.startswith("rediss://") else None,
        enable_utc=True,
    )
    return app


def transport_options(settings: Settings) -> dict[str, Any]:
    """Short visibility timeout, kept alive by a heartbeat; every key under our own prefix."""
    return {
        "visibility_timeout": settings.visibility_seconds,
        "unacked_restore_interval": settings.restore_seconds,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "queue_order_strategy": "priority",
        "global_keyprefix": broker_prefix(settings),
    }


def broker_prefix(settings: Settings) -> str:
    """The prefix of Celery's own keys."""
    return f"{settings.key_prefix}:celery:"


def _queues() -> list[Any]:
    from kombu.entity import Exchange, Queue

    # Named exchanges and keys: with the default exchange every queue would get every message.
    return [Queue(name, Exchange(name), routing_key=name) for name in QUEUES]  # type: ignore[no-untyped-call]


class JobQueue:
    """Sends a message per unit of work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def app(self) -> Celery:
        """The Celery app, made when the first message is sent."""
        return make_celery(self._settings)

    def send(self, job_id: str, units: Iterable[str], queue: str) -> bool:
        """Send one message per unit; False when the broker did not take them all (the reconciler sends them
        later).
        """
        from kombu.exceptions import OperationalError

        try:
            with self.app.producer_or_acquire() as producer:
                for unit in units:
                    self.app.send_task(
                        TASK,
                        args=[job_id, unit],
                        queue=queue,
                        task_id=f"{job_id}.{unit}",
                        producer=producer,
                        retry=False,
                    )
        except (OperationalError, OSError) as error:
            _log.warning("the broker took no message for job %s: %s", job_id, error)
            return False
        return True
