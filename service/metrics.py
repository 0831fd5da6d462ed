"""Prometheus metrics of the API: its own requests, and the state of the queue at the moment of reading."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.metrics import WorkerMetrics
from workers.problems import StoreUnavailable
from workers.store import JobStore

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "equimol_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "equimol_http_request_seconds",
            "Time to answer",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("equimol_event_streams", "Open event streams", registry=self.registry)

    def watch(self, store: JobStore) -> None:
        """Add the queue's state and what the workers counted."""
        self.registry.register(_Queue(store))
        self.registry.register(WorkerMetrics(store))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Queue(Collector):
    def __init__(self, store: JobStore) -> None:
        self.store = store

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # do not ask Redis when the collector is registered

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            counts = self.store.counts()
        except StoreUnavailable:
            yield GaugeMetricFamily("equimol_store_up", "Whether Redis answers", value=0)
            return
        yield GaugeMetricFamily("equimol_store_up", "Whether Redis answers", value=1)
        for name, value in counts.model_dump().items():
            yield GaugeMetricFamily(f"equimol_queue_{name}", f"{name.replace('_', ' ')} now", value=value)


class RequestMetrics:
    """ASGI layer that counts and times requests by route template, so that ids make no new series."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        begun = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(scope["method"], route, str(status)).inc()
            self.metrics.seconds.labels(scope["method"], route).observe(time.perf_counter() - begun)
