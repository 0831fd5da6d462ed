"""Prometheus metrics of the workers.

They are counted in the store, inside the scripts that change the jobs: no process keeps files, nothing is counted
twice, and any API process can show them all.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from workers.presence import present_workers
from workers.problems import StoreUnavailable
from workers.store import JobStore

COUNTERS = {
    "jobs_total": ("Jobs that ended", ("family", "capability", "status")),
    "molecules_total": ("Molecules computed or read", ("family", "model", "capability", "valid")),
    "evaluations_total": ("Network calls", ("family", "model", "capability")),
    "redeliveries_total": ("Units of work that had to be started again", ()),
    "lost_messages_total": ("Messages that the broker lost and the reconciler sent again", ()),
}
SUMMARIES = {
    "queue_seconds": ("Time from accepting a job to its first shard", ("queue",)),
    "shard_seconds": ("Time to compute one shard", ("family", "model", "capability")),
    "job_seconds": ("Time from accepting a job to its end", ("family", "capability")),
}


class WorkerMetrics(Collector):
    """Register it in the API's registry; it reads the store whenever the metrics are asked for."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def describe(self) -> list[Metric]:
        """Nothing: the store is not asked when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families; none while the store does not answer."""
        try:
            values = self._values()
            workers = present_workers(self.store)
        except StoreUnavailable:
            return
        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(f"equimol_{name}", text, labels=labels)
            for found, value in values.get(name, {} if labels else {(): 0.0}).items():
                counter.add_metric(found, value)
            yield counter
        for name, (text, labels) in SUMMARIES.items():
            summary = SummaryMetricFamily(f"equimol_{name}", text, labels=labels)
            for found, count in values.get(f"{name}_count", {}).items():
                summary.add_metric(found, int(count), values.get(f"{name}_sum", {}).get(found, 0.0))
            yield summary
        up = GaugeMetricFamily(
            "equimol_worker_ready", "Whether a worker is ready", labels=("worker", "queues", "device")
        )
        age = GaugeMetricFamily(
            "equimol_worker_loop_age_seconds", "Since a worker's event loop last turned", labels=("worker",)
        )
        for worker in workers:
            up.add_metric((worker.name, worker.queues, worker.device), float(worker.ready))
            age.add_metric((worker.name,), worker.loop_age)
        yield up
        yield age

    def _values(self) -> dict[str, dict[tuple[str, ...], float]]:
        """{metric: {label values: value}}."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for field, value in self.store.metrics().items():
            name, *labels = field.split("|")
            found.setdefault(name, {})[tuple(labels)] = float(value)
        return found
