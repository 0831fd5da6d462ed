"""How much memory a job takes, and that a large job takes no more than a small one.

    python -m benchmarks.memory --molecules 1000 10000 --steps 2

Starts a service of its own for each size, samples, and reads the highest resident size that each process ever had
from /proc. Few steps suffice: memory does not depend on them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.own_service import own_service
from service.client import Equimol


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [p for child in children for p in family(int(child))]


def highest_megabytes(pid: int) -> float:
    """VmHWM: the most memory that the process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(model: str, molecules: int, steps: int) -> dict[str, float]:
    """Peak resident megabytes of the API and of the largest process of the worker after one job."""
    with own_service() as stack:
        with Equimol(stack.url) as service:
            service.sample(model, n_molecules=molecules, steps=steps, seed=1).wait(timeout=3600)
        peaks = {
            child.name: max(highest_megabytes(pid) for pid in family(child.process.pid))
            for child in stack.supervisor.children
        }
    return {name: round(value, 1) for name, value in peaks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="edm-qm9")
    parser.add_argument("--molecules", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    figures = {}
    for count in options.molecules:
        figures[str(count)] = measure(options.model, count, options.steps)
        print(f"{count:6d} molecules: peak resident MB {figures[str(count)]}")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
