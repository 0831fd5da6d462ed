"""Steps against quality against time: the shipped EDM and the shipped E-NF, several settings of their samplers.

    python -m benchmarks.steps_quality --samples 200
    python -m benchmarks.steps_quality --model enf-qm9 --samples 500 --write

Sizes are drawn from the data, the same ones for every row; quality is judged by the published definitions. Times are
processor time of one core, of all molecules of a row in one batch. `--write` keeps the figures of a model in
`docs/figures/steps_quality.json` and puts the table of all models into `docs/choose-a-model.md`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any, cast

import torch
import typer
from rich.console import Console
from torch import nn

from benchmarks.enf_trace import WEIGHTS
from benchmarks.pages import kept, markdown, put
from models.core.ode import Solver
from models.core.precision import fast_cpu_arithmetic
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.enf.model import ENF
from models.training.evaluations.edm import card_sampler
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
SHOWN = ("valid", "molecule_stable", "connected")


def shipped(name: str) -> tuple[Any, dict[str, Any]]:
    """A shipped model and its card."""
    card = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return load_model(card, WEIGHTS / card["weights"]["file"]), card


def edm_sampler(model: EDM, steps: int, **options: Any) -> Sampler:
    """A run of the EDM from noise to molecules."""

    def sample(sizes: list[int], seeds: list[int]) -> list[Sampled]:
        run = model.sampling(sizes, seeds, steps=steps, **options)
        while not run.done:
            run.step()
        return cast("list[Sampled]", run.result())

    return sample


def enf_sampler(model: ENF, solver: Solver, temperature: float = 1.0) -> Sampler:
    """The flow from noise to molecules."""
    return lambda sizes, seeds: cast(
        "list[Sampled]", model.sample(sizes, seeds, solver=solver, temperature=temperature)
    )


def settings_of(model: Any, card: dict[str, Any]) -> tuple[nn.Module, dict[str, Sampler]]:
    """The network whose calls count, and the samplers that are compared, by their setting."""
    if isinstance(model, EDM):
        options = {k: v for k, v in card_sampler(card).items() if k != "steps"}
        return model.denoiser, {f"{steps} steps": edm_sampler(model, steps, **options) for steps in EDM_STEPS}
    if not isinstance(model, ENF):
        raise typer.BadParameter(f"{card['id']} is neither an EDM nor an E-NF.")
    samplers = {name: enf_sampler(model, solver) for name, solver in ENF_SOLVERS.items()}
    for warmth in TEMPERATURES:
        name = "heun, 16 steps"
        samplers[f"{name}, temperature {warmth}"] = enf_sampler(model, ENF_SOLVERS[name], warmth)
    return model.field, samplers


def measured(network: nn.Module, sampler: Sampler, sizes: list[int], seeds: list[int]) -> dict[str, Any]:
    """Network calls and processor seconds a molecule, and shares with their intervals."""
    calls = 0

    def count(_: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += max(len(part) for part in given if isinstance(part, torch.Tensor) and part.dim())

    handle = network.register_forward_pre_hook(count)
    begun = time.process_time()
    made = sampler(sizes, seeds)
    seconds = (time.process_time() - begun) / len(sizes)
    handle.remove()
    found = judge(made, None).values
    shares = {
        name: [round(v, 4) for v in (found[name].value, found[name].low, found[name].high)] for name in SHOWN
    }
    return {"calls": round(calls / len(sizes), 1), "seconds": round(seconds, 4), **shares}


def table(models: dict[str, Any]) -> str:
    """The figures of all models as Markdown."""
    rows = [
        [
            f"`{name}`", setting, f"{row['calls']:.0f}", f"{1 / row['seconds']:.3g}",
            *(f"{100 * v:.1f} % ({100 * low:.0f} to {100 * high:.0f})" for v, low, high in map(row.get, SHOWN)),
            str(figures["samples"]),
        ]
        for name, figures in models.items()
        for setting, row in figures["rows"].items()
    ]  # fmt: skip
    shown = [name.replace("_", " ") for name in SHOWN]
    return markdown(["model", "setting", "network calls", "molecules / s", *shown, "samples"], rows)


def main(
    model: Annotated[list[str], typer.Option(help="A model; may be given again.")] = ["edm-qm9", "enf-qm9"],  # noqa: B006
    samples: Annotated[int, typer.Option(help="Molecules of each row.", min=2)] = 200,
    write: Annotated[bool, typer.Option(help="Keep the figures and put the table into the docs.")] = False,
) -> None:
    """Sample with every setting, judge, and print a table."""
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    seeds = [molecule_seed(0, index) for index in range(samples)]
    console = Console()
    measured_models: dict[str, Any] = {}
    for name in model:
        loaded, card = shipped(name)
        network, samplers = settings_of(loaded, card)
        sizes = loaded.sizes.draw(seeds)
        figures: dict[str, Any] = {"samples": samples, "weights": card["weights"]["sha256"], "rows": {}}
        for setting, sampler in samplers.items():
            figures["rows"][setting] = measured(network, sampler, sizes, seeds)
            console.print(f"{name}, {setting}: {figures['rows'][setting]}")
        measured_models[name] = figures
    console.print(table(measured_models))
    if write:
        for name, figures in measured_models.items():
            everything = kept("steps_quality", name, figures)
        put("choose-a-model", "steps_quality", table(everything))


if __name__ == "__main__":
    typer.run(main)
