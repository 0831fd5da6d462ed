"""Steps against quality against time: the shipped EDM and the shipped E-NF, several settings of their samplers.

    python -m benchmarks.steps_quality --samples 200

Sizes are drawn from the data, the same ones for every row; quality is judged by the published definitions. Times are
processor time of one core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.enf_trace import WEIGHTS, shipped
from models.core.ode import Solver
from models.core.precision import fast_cpu_arithmetic
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.training.evaluations.molecules import Sampled, judge
from models.weights import load_model

Sampler = Callable[[list[int], list[int]], list[Sampled]]
EDM_STEPS = (25, 50, 100, 200)
ENF_SOLVERS: dict[str, Solver] = {
    "heun, 8 steps": Solver("heun", steps=8, refine=0.05),
    "heun, 16 steps": Solver("heun", steps=16, refine=0.05),
    "heun, 32 steps": Solver("heun", steps=32, refine=0.05),
    "dopri5, tolerance 1e-2": Solver(tolerance=1e-2),
    "dopri5, tolerance 1e-3": Solver(tolerance=1e-3),
}
TEMPERATURES = (0.8, 0.9)


def edm_sampler(model: EDM, steps: int, **options: Any) -> Sampler:
    """A run of the EDM from noise to molecules."""

    def sample(sizes: list[int], seeds: list[int]) -> list[Sampled]:
        run = model.sampling(sizes, seeds, steps=steps, **options)
        while not run.done:
            run.step()
        return cast("list[Sampled]", run.result())

    return sample


def rows(edm_name: str, enf_name: str) -> dict[str, tuple[Any, Sampler]]:
    """What is compared: a model with its sizes, and how it samples."""
    card = json.loads((WEIGHTS / f"{edm_name}.json").read_text(encoding="utf-8"))
    edm = cast("EDM", load_model(card, WEIGHTS / card["weights"]["file"]))
    options = {k: v for k, v in card["defaults"].get("sample", {}).items() if k != "steps"}
    out: dict[str, tuple[Any, Sampler]] = {
        f"{edm_name}, {steps} steps": (edm, edm_sampler(edm, steps, **options)) for steps in EDM_STEPS
    }
    enf = shipped(enf_name)
    for name, solver in ENF_SOLVERS.items():
        out[f"{enf_name}, {name}"] = (
            enf, lambda n, s, solver=solver: enf.sample(n, s, solver=solver)
        )  # fmt: skip
    for warmth in TEMPERATURES:
        out[f"{enf_name}, heun, 16 steps, temperature {warmth}"] = (
            enf,
            lambda n, s, warmth=warmth: enf.sample(
                n, s, solver=ENF_SOLVERS["heun, 16 steps"], temperature=warmth
            ),
        )
    return out


def main(
    samples: Annotated[int, typer.Option(help="Molecules of each row.", min=2)] = 200,
    edm: Annotated[str, typer.Option(help="The diffusion.")] = "edm-qm9",
    enf: Annotated[str, typer.Option(help="The flow.")] = "enf-qm9",
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Sample with every setting, judge, and print a table."""
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    seeds = [molecule_seed(0, index) for index in range(samples)]
    console = Console()
    table = Table(title=f"{samples} samples each, 95 % intervals, one core")
    for heading in ("", "molecules / s", "valid", "molecule stable", "connected"):
        table.add_column(heading, justify="right" if heading else "left")
    report: dict[str, Any] = {"samples": samples, "torch": torch.__version__, "rows": {}}
    for name, (model, sampler) in rows(edm, enf).items():
        sizes = model.sizes.draw(seeds)
        begun = time.process_time()
        made = sampler(sizes, seeds)
        rate = samples / (time.process_time() - begun)
        found = judge(made, None).values
        shown = {key: found[key] for key in ("valid", "molecule_stable", "connected")}
        report["rows"][name] = {"molecules_per_second": rate} | {
            key: [value.value, value.low, value.high] for key, value in shown.items()
        }
        cells = (f"{100 * v.value:.1f} % ({100 * v.low:.0f} to {100 * v.high:.0f})" for v in shown.values())
        table.add_row(name, f"{rate:.2f}", *cells)
        console.print(f"{name}: {rate:.2f} / s")
        if out is not None:
            out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
