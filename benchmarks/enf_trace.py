"""Seconds to score one molecule of 19 atoms with the exact trace, beside the way the published code does it.

    python -m benchmarks.enf_trace

(a) ours: the path first, then the divergence at the nodes of a quadrature, from the field linearized by hand.
(b) an adaptive solver that carries the exact divergence along, also from the linearized field.
(c) the naive way: the same solver, one backward pass after another for each of the 3N + cN coordinates of a state.

(c) is extrapolated from one divergence, measured, and from the solver's number of calls in (b), counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.core.centered import remove_mean
from models.core.divergence import centered_directions, exact_divergence
from models.core.ode import Solver
from models.core.precision import fast_cpu_arithmetic
from models.core.random import generator
from models.enf.likelihood import DIRECTIONS, PAIRS, Quadrature, drawn, parts_of
from models.enf.model import ENF
from models.enf.trace import exact_trace
from models.weights import load_model

WEIGHTS = Path(__file__).parents[1] / "models" / "weights"


def shipped(name: str) -> ENF:
    """A shipped E-NF."""
    card = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return cast("ENF", load_model(card, WEIGHTS / card["weights"]["file"]))


def molecule(model: ENF, atoms: int, seed: int) -> tuple[Tensor, Tensor]:
    """A molecule that the model made itself, as a batch of one: numbers and centered positions."""
    made = model.sample([atoms], [seed])[0]
    numbers = torch.from_numpy(np.asarray(made.numbers))[None]
    return numbers, remove_mean(torch.from_numpy(made.positions)[None]).to(model.dtype)


def sequential_divergence(velocity: Callable[[Tensor], Tensor], state: Tensor) -> Tensor:
    """The divergence `[b]` by one backward pass for each coordinate, as the published code computes it."""
    at = state.detach().requires_grad_()
    with torch.enable_grad():
        value = velocity(at)
        total = torch.zeros(len(state), dtype=state.dtype)
        for i in range(state.shape[1]):
            for c in range(state.shape[2]):
                (row,) = torch.autograd.grad(value[:, i, c].sum(), at, retain_graph=True)
                total = total + row[:, i, c]
    return total


def timed(action: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Wall seconds and processor seconds of the fastest run, and its result."""
    found: list[tuple[float, float, Any]] = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = action()
        found.append((time.perf_counter() - wall, time.process_time() - processor, result))
    return min(found, key=lambda each: each[0])


def main(
    model: Annotated[str, typer.Option(help="Name of the shipped model.")] = "enf-qm9",
    atoms: Annotated[int, typer.Option(help="Atoms of the molecule.", min=3)] = 19,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 2,
    repeats: Annotated[int, typer.Option(help="Timed repetitions; the fastest counts.", min=1)] = 3,
    tolerance: Annotated[float, typer.Option(help="Of the adaptive solver.")] = 1e-4,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure the three ways on one molecule, once dequantized, and print a table."""
    torch.set_num_threads(threads)
    fast_cpu_arithmetic()
    enf = shipped(model)
    numbers, x = molecule(enf, atoms, 1)
    noise = drawn(enf, numbers, [generator(0, "benchmark")])
    quadrature = enf.quadrature
    directions = centered_directions(atoms, 3, enf.features.channels, dtype=enf.dtype)
    state = torch.cat([x, torch.zeros(1, atoms, enf.features.channels)], -1)
    t = torch.full((1,), 0.3)

    def velocity(at: Tensor) -> Tensor:
        return torch.cat(enf.field(t, at[..., :3], at[..., 3:]), -1)

    chunk = max(4, DIRECTIONS * PAIRS // atoms**2)
    with torch.no_grad():
        by_hand, _, (_, divergence) = timed(
            lambda: exact_trace(enf.field, t, state, directions, 3, chunk=chunk), repeats
        )
        automatic, _, _ = timed(lambda: exact_divergence(velocity, state, directions, chunk=chunk), repeats)
    one_by_one, _, sequential = timed(lambda: sequential_divergence(velocity, state), repeats)
    ours, ours_processor, (parts, end, error) = timed(
        lambda: parts_of(enf, numbers, x, noise, quadrature), repeats
    )
    solver, solver_processor, (solved, solved_end, _) = timed(
        lambda: parts_of(enf, numbers, x, noise, Solver(tolerance=tolerance)), 1
    )
    calls = int(solved_end.calls[0])
    naive = calls * one_by_one
    report = {
        "model": model, "atoms": atoms, "threads": threads, "torch": torch.__version__,
        "divergence": {
            "linearized_seconds": by_hand, "automatic_forward_seconds": automatic,
            "backward_one_by_one_seconds": one_by_one,
            "relative_difference": abs(float(divergence - sequential)) / max(abs(float(sequential)), 1e-9),
        },
        "ours": {
            "seconds": ours, "processor_seconds": ours_processor, "calls": int(end.calls[0]),
            "divergences": cast("Quadrature", quadrature).intervals + 1, "log_prob": float(parts.total()),
            "integration_error": float(error),
        },
        "solver": {
            "seconds": solver, "processor_seconds": solver_processor, "calls": calls,
            "log_prob": float(solved.total()),
        },
        "naive_seconds": naive, "speedup": naive / ours,
    }  # fmt: skip
    show(report)
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    console = Console()
    table = Table(
        title=f"exact trace, {report['atoms']} atoms, {report['threads']} threads ({report['model']})",
        caption="one dequantization; wall seconds",
    )
    for heading in ("", "seconds", "divergences", "log p(x, elements | N), nats"):
        table.add_column(heading, justify="right" if heading else "left")
    ours, solver = report["ours"], report["solver"]
    table.add_row(
        "(a) quadrature", f"{ours['seconds']:.2f}", str(ours["divergences"]),
        f"{ours['log_prob']:.3f} +- {ours['integration_error']:.3f}",
    )  # fmt: skip
    table.add_row(
        "(b) adaptive solver", f"{solver['seconds']:.2f}", str(solver["calls"]), f"{solver['log_prob']:.3f}"
    )
    table.add_row("(c) naive (extrapolated)", f"{report['naive_seconds']:.1f}", str(solver["calls"]), "")
    console.print(table)
    one = report["divergence"]
    console.print(
        f"one divergence: {one['linearized_seconds']:.3f} s by hand, {one['automatic_forward_seconds']:.3f} s by "
        f"automatic forward mode, {one['backward_one_by_one_seconds']:.3f} s by single backward passes"
    )
    console.print(f"(c) / (a): {report['speedup']:.1f}")


if __name__ == "__main__":
    typer.run(main)
