"""Measures a generator by its samples and its bound, with the same measurements of real data beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chemistry.datasets import MoleculeDataset, load_dataset
from chemistry.datasets.reference import training_smiles
from chemistry.metrics import Metrics, stability_and_validity
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.edm.sampling import Sample


def quiet(done: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Figures:
    """Metrics of samples and what they cost."""

    metrics: Metrics
    seconds: float
    diverged: int
    calls: int


def draw_samples(
    model: EDM,
    count: int,
    *,
    seed: int = 0,
    batch: int = 256,
    progress: Callable[[int], None] = quiet,
    **sampler: Any,
) -> list[Sample]:
    """Molecules 0..count-1 of job seed `seed`, sizes from p(N): the same ones that the service would make."""
    out: list[Sample] = []
    for start in range(0, count, batch):
        seeds = [molecule_seed(seed, index) for index in range(start, min(start + batch, count))]
        run = model.sampling(model.sizes.draw(seeds), seeds, **sampler)
        while not run.done:
            run.step()
        out += run.result()
        progress(len(out))
    return out


def measure_samples(
    model: EDM, count: int, *, reference: frozenset[str] | None = None, seed: int = 0,
    progress: Callable[[int], None] = quiet, **sampler: Any,
) -> Figures:  # fmt: skip
    """Sample and judge by the published definitions. Diverged samples count as failures, none is left out."""
    started = time.monotonic()
    samples = draw_samples(model, count, seed=seed, progress=progress, **sampler)
    seconds = time.monotonic() - started
    for sample in samples:
        if sample.diverged:  # scattered atoms: unstable and unconnected under every rule
            sample.positions[:] = 100.0 * np.arange(len(sample.numbers))[:, None]
    metrics = stability_and_validity(samples, reference_smiles=reference)
    calls = model.sampling([2], [0], **sampler).total_calls
    return Figures(metrics, seconds, sum(sample.diverged for sample in samples), calls)


def data_row(data: str, *, every: int = 4) -> Metrics:
    """The same metrics of every `every`-th molecule of the test split."""
    test = load_dataset(data, "test")
    reference = training_smiles(load_dataset(data, "train"))
    return stability_and_validity((test[i] for i in range(0, len(test), every)), reference_smiles=reference)


def measure_bound(
    model: EDM, data: MoleculeDataset, count: int, *, draws: int = 64, seed: int = 0,
    progress: Callable[[int], None] = quiet,
) -> dict[str, float]:  # fmt: skip
    """Mean negative bound in nats of `count` molecules spread evenly over `data`, with the interval of the mean.

    The molecules differ far more than the draws do, so the interval is that of the mean over molecules.
    """
    rows: Sequence[int] = np.linspace(0, len(data) - 1, count).astype(int).tolist()
    records = [data[row] for row in rows]
    found = model.bound(
        [record.numbers for record in records],
        [record.positions for record in records],
        [molecule_seed(seed, row) for row in rows],
        draws=draws,
        progress=progress,
    )
    values = -np.array([likelihood.value for likelihood in found])
    values = values[np.isfinite(values)]  # a size that training never saw has no finite value
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return {
        "value": float(values.mean()), "low": float(values.mean() - half), "high": float(values.mean() + half),
        "n": len(values),
    }  # fmt: skip
