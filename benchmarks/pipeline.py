"""Molecules per second of the whole service: request, sampling, bonds, checks, drawings, files, download.

    python -m benchmarks.pipeline --molecules 512 --steps 50 --workers 2

Starts a service of its own with one worker a core, each with one thread. The time runs from the request to the last
byte of the SDF file; sizes are drawn as in the data. A first small job warms up.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

# One thread a worker: must be set before the workers start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.own_service import own_service
from service.client import Equimol


def measure(
    model: str, molecules: int, steps: int | None, workers: int, repeats: int
) -> list[dict[str, Any]]:
    """One row a repeat."""
    wanted: dict[str, Any] = {"n_molecules": molecules} | ({} if steps is None else {"steps": steps})
    rows = []
    with own_service(workers=workers) as stack, Equimol(stack.url) as service:
        service.sample(model, n_molecules=64 * workers, steps=2, seed=0).wait(timeout=600)
        for seed in range(1, repeats + 1):
            begun = time.perf_counter()
            job = service.sample(model, seed=seed, **wanted).wait(timeout=3600)
            size = len(job.text("molecules.sdf"))
            seconds = time.perf_counter() - begun
            rows.append(
                {
                    "model": model,
                    "molecules": molecules,
                    "steps": job.document.request["steps"],
                    "workers": workers,
                    "seconds": round(seconds, 2),
                    "molecules_per_second": round(molecules / seconds, 2),
                    "sdf_bytes": size,
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="edm-qm9")
    parser.add_argument("--molecules", type=int, default=512)
    parser.add_argument("--steps", type=int, default=None, help="network calls [default: the card's]")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    rows = measure(options.model, options.molecules, options.steps, options.workers, options.repeats)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
