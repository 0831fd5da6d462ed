"""E-NF by its samples and its likelihood, with the same measurements of real molecules beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chemistry.datasets import load_dataset
from chemistry.datasets.reference import training_smiles
from models.core.ode import Solver
from models.core.random import molecule_seed
from models.enf.model import ENF
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.molecules import Progress, data_row, judge, nobody, sample_metrics

SETTINGS = ("solver", "tolerance", "steps", "temperature", "trace", "draws", "score_tolerance")
BATCH = 256


def solver_of(settings: Mapping[str, Any]) -> Solver:
    """The solver that samples: adaptive, or fixed steps that are smaller near the data, as the service has them."""
    if settings.get("solver", "dopri5") == "dopri5":
        return Solver(tolerance=settings.get("tolerance", 1e-3))
    return Solver(settings["solver"], steps=settings.get("steps", 32), refine=0.05)


def draw_samples(
    model: ENF,
    count: int,
    *,
    seed: int = 0,
    solver: Solver,
    temperature: float = 1.0,
    progress: Progress = nobody,
) -> list[Any]:
    """Molecules 0..count-1 of job seed `seed`, sizes from p(N): the same ones that the service would make."""
    out: list[Any] = []
    for start in range(0, count, BATCH):
        seeds = [molecule_seed(seed, index) for index in range(start, min(start + BATCH, count))]
        out += model.sample(model.sizes.draw(seeds), seeds, solver=solver, temperature=temperature)
        progress(len(out))
    return out


def measure_likelihood(
    model: ENF, data: str, count: int, *, seed: int = 0, progress: Progress = nobody, **scoring: Any
) -> list[Metric]:
    """Mean negative log-likelihood in nats of `count` test molecules, with the interval of the mean over molecules.

    log p(x, elements, N) as published: positions in Angstrom on the centered subspace, elements with their
    dequantization counted, log p(N) included.
    """
    test = load_dataset(data, "test")
    known = np.flatnonzero(np.isin(test.sizes, list(model.sizes.counts)))  # other sizes have no finite value
    rows: list[int] = known[np.linspace(0, len(known) - 1, count).astype(int)].tolist()
    records = [test[row] for row in rows]
    found = model.log_prob(
        [record.numbers for record in records],
        [record.positions for record in records],
        [molecule_seed(seed, row) for row in rows],
        progress=progress,
        **scoring,
    )
    values = -np.array([likelihood.value for likelihood in found])
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    said = {"unit": "nats", "n": len(values), "trace": scoring["trace"], "draws": scoring["draws"]}
    mean = float(values.mean())
    worst = max(likelihood.integration_error for likelihood in found)
    return [
        {
            "name": "negative_log_likelihood", "value": round(mean, 3), "low": round(mean - half, 3),
            "high": round(mean + half, 3), **said, "median": round(float(np.median(values)), 3),
            "largest_integration_error": round(worst, 4),
        }
    ]  # fmt: skip


def evaluate(model: ENF, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Stability and validity of `samples` molecules, and the likelihood of `test_items` test molecules.

    Settings: solver, tolerance, steps, temperature of the samples; trace, draws, score_tolerance of the likelihood.
    """
    defaults = {k: v for k, v in card["defaults"].get("sample", {}).items() if k in SETTINGS}
    settings = defaults | options.only(*SETTINGS)
    data = card["training"]["data"]
    watch("real molecules", 0, 1)
    real = data_row(data)
    watch("real molecules", 1, 1)
    solver, temperature = solver_of(settings), float(settings.get("temperature", 1.0))
    samples = draw_samples(
        model, options.samples, seed=options.seed, solver=solver, temperature=temperature,
        progress=lambda done: watch("sampling", done, options.samples),
    )  # fmt: skip
    found = judge(samples, training_smiles(load_dataset(data, "train")))
    said: dict[str, Any] = {"solver": solver.method, "temperature": temperature}
    said |= {"tolerance": solver.tolerance} if solver.steps is None else {"steps": solver.steps}
    metrics = sample_metrics(found, real, **said)
    metrics.append({"name": "diverged", "value": sum(s.diverged for s in samples), "n": len(samples)})
    if options.test_items:
        trace = settings.get("trace", "exact")
        tolerance = settings.get("score_tolerance", 1e-4)
        method = Solver(tolerance=tolerance) if trace == "hutchinson" else None
        metrics += measure_likelihood(
            model, data, options.test_items, seed=options.seed, trace=trace, draws=settings.get("draws", 1),
            method=method, progress=lambda done: watch("scoring", done, options.test_items),
        )  # fmt: skip
    return metrics


def glimpse(model: ENF) -> dict[str, float]:
    """A quick look during training: 128 samples of 40 network calls."""
    samples = draw_samples(model, 128, solver=Solver("heun", steps=20, refine=0.05))
    return {name: round(v.value, 4) for name, v in judge(samples, None).values.items()}
