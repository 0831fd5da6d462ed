"""Molecules per second by the flow: in batches, beside one molecule at a time as the published code samples.

    python -m benchmarks.enf_sampling

Same weights, same sizes, same noise, same solver and tolerance, in one run; the molecules agree up to rounding.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.enf_trace import shipped
from models.core.ode import Solver
from models.core.precision import fast_cpu_arithmetic
from models.core.random import molecule_seed
from models.edm.sampling import Sample
from models.enf.model import ENF


def run(enf: ENF, seeds: list[int], batch: int, solver: Solver) -> tuple[float, float, list[Sample]]:
    """Wall and processor seconds, and the molecules, of sampling `batch` at a time."""
    sizes = enf.sizes.draw(seeds)
    wall, processor = time.perf_counter(), time.process_time()
    out: list[Sample] = []
    for start in range(0, len(seeds), batch):
        out += enf.sample(sizes[start : start + batch], seeds[start : start + batch], solver=solver)
    return time.perf_counter() - wall, time.process_time() - processor, out


def main(
    model: Annotated[str, typer.Option(help="Name of the shipped model.")] = "enf-qm9",
    molecules: Annotated[int, typer.Option(help="Molecules in the batch.", min=2)] = 256,
    single: Annotated[int, typer.Option(help="Of them, made one at a time too.", min=1)] = 16,
    tolerance: Annotated[float, typer.Option(help="Of the adaptive solver.")] = 1e-3,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Sample the same molecules in both ways and print their rates."""
    torch.set_num_threads(threads)
    fast_cpu_arithmetic()
    enf, solver = shipped(model), Solver(tolerance=tolerance)
    seeds = [molecule_seed(0, index) for index in range(molecules)]
    run(enf, seeds[:2], 1, solver)  # warms up
    alone = run(enf, seeds[:single], 1, solver)
    together = run(enf, seeds, molecules, solver)
    same = [np.abs(a.positions - b.positions).max() for a, b in zip(alone[2], together[2], strict=False)]
    rates = {"one at a time": (single, alone), "batched": (molecules, together)}
    report: dict[str, Any] = {
        "model": model, "tolerance": tolerance, "threads": threads, "torch": torch.__version__,
        "median_difference_angstrom": float(np.median(same)),
        "rows": {
            name: {
                "molecules": count, "seconds": found[0], "molecules_per_second": count / found[0],
                "molecules_per_processor_second": count / found[1],
            }
            for name, (count, found) in rates.items()
        },
    }  # fmt: skip
    first, second = (row["molecules_per_processor_second"] for row in report["rows"].values())
    report["speedup"] = second / first
    show(report)
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    console = Console()
    table = Table(title=f"{report['model']}, tolerance {report['tolerance']:g}, {report['threads']} threads")
    for heading in ("", "molecules", "molecules / s", "molecules / s of processor time"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in report["rows"].items():
        rates = (row["molecules_per_second"], row["molecules_per_processor_second"])
        table.add_row(name, str(row["molecules"]), *(f"{rate:.2f}" for rate in rates))
    console.print(table)
    difference = report["median_difference_angstrom"]
    console.print(f"speedup {report['speedup']:.1f}; median difference {difference:.1g} Angstrom")


if __name__ == "__main__":
    typer.run(main)
