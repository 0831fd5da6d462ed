"""How fast the API answers while a worker is busy, and how much memory it takes.

    python -m benchmarks.api_latency --requests 300 --out api_latency.json

Starts a service of its own on a free port, keeps its worker busy with a large job, and measures from a client
on the same machine over one connection: creating jobs, reading a job, reading a page of molecules.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.own_service import own_service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="edm-qm9")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    os.environ["EQUIMOL_REQUESTS_PER_MINUTE"] = "0"
    os.environ["EQUIMOL_OWNER_MAX_JOBS"] = os.environ["EQUIMOL_QUEUE_MAX_JOBS"] = "100000"
    with own_service() as stack:
        figures = measure(stack.url, options.model, options.requests)
        figures["api_resident_megabytes"] = resident_megabytes(stack.supervisor.children[0].process.pid)
    for name, value in figures.items():
        print(f"{name:32} {value}")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def measure(url: str, model: str, count: int) -> dict[str, Any]:
    """Median and 95th percentile in milliseconds of each kind of request."""
    with httpx.Client(base_url=url, timeout=60) as http:
        create = f"/v1/models/{model}/sample"
        ready = http.post(create, json={"n_molecules": 4, "steps": 2}, headers={"Prefer": "wait=60"}).json()
        busy = http.post(create, json={"n_molecules": 2000, "steps": 1000, "priority": "interactive"}).json()
        while http.get(busy["links"]["self"]).json()["status"] != "running":
            time.sleep(0.1)
        water = {"molecules": {"smiles": ["O"]}}
        kinds: dict[str, Callable[[], httpx.Response]] = {
            "create_sample": lambda: http.post(create, json={"n_molecules": 16, "priority": "batch"}),
            "create_score_of_smiles": lambda: http.post(f"/v1/models/{model}/score", json=water),
            "dry_run": lambda: http.post(f"{create}?dry_run=true", json={"n_molecules": 16}),
            "read_job": lambda: http.get(ready["links"]["self"]),
            "read_molecules": lambda: http.get(ready["links"]["molecules"]),
            "live": lambda: http.get("/v1/health/live"),
        }
        figures: dict[str, Any] = {"requests": count}
        for name, send in kinds.items():
            times = sorted(timed(send) for _ in range(count))
            figures[f"{name}_ms_median"] = round(statistics.median(times), 2)
            figures[f"{name}_ms_p95"] = round(times[int(0.95 * count)], 2)
        figures["worker_still_busy"] = http.get(busy["links"]["self"]).json()["status"] == "running"
    return figures


def timed(send: Callable[[], httpx.Response]) -> float:
    """Milliseconds until the answer is there; any failure ends the benchmark."""
    begun = time.perf_counter()
    send().raise_for_status()
    return 1000 * (time.perf_counter() - begun)


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    listing = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return round(int(listing.stdout) / 1024, 1)


if __name__ == "__main__":
    main()
