"""EDM by its samples and its bound, with the same measurements of real molecules beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chemistry.datasets import MoleculeDataset, load_dataset
from chemistry.datasets.reference import training_smiles
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.molecules import Progress, data_row, judge, nobody, sample_metrics

SAMPLER = ("steps", "sampler", "churn", "guidance")
BATCH = 256
PUBLISHED_LEVEL = math.sqrt(1e-5 / (1 - 1e-5))
"""Noise of the published models' first step in Angstrom: precision 1e-5, positions not scaled."""


def card_sampler(card: Mapping[str, Any]) -> dict[str, Any]:
    """The sampler that a card makes the default: the settings that `EDM.sampling` takes."""
    return {name: value for name, value in card["defaults"].get("sample", {}).items() if name in SAMPLER}


def draw_samples(
    model: EDM, count: int, *, seed: int = 0, progress: Progress = nobody, **sampler: Any
) -> list[Any]:
    """Molecules 0..count-1 of job seed `seed`, sizes from p(N): the same ones that the service would make."""
    out: list[Any] = []
    for start in range(0, count, BATCH):
        seeds = [molecule_seed(seed, index) for index in range(start, min(start + BATCH, count))]
        run = model.sampling(model.sizes.draw(seeds), seeds, **sampler)
        while not run.done:
            run.step()
        out += run.result()
        progress(len(out))
    return out


def measure_bound(
    model: EDM,
    data: MoleculeDataset,
    count: int,
    *,
    draws: int = 64,
    lowest: float | None = None,
    seed: int = 0,
    progress: Progress = nobody,
) -> dict[str, float]:
    """Mean negative bound in nats of `count` molecules spread evenly over `data`, with the interval of the mean.

    The molecules differ far more than the draws do, so the interval is that of the mean over molecules.
    """
    known = np.flatnonzero(np.isin(data.sizes, list(model.sizes.counts)))  # other sizes have no finite value
    rows: Sequence[int] = known[np.linspace(0, len(known) - 1, count).astype(int)].tolist()
    records = [data[row] for row in rows]
    found = model.bound(
        [record.numbers for record in records],
        [record.positions for record in records],
        [molecule_seed(seed, row) for row in rows],
        draws=draws,
        lowest=lowest,
        progress=progress,
    )
    values = -np.array([likelihood.value for likelihood in found])
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return {
        "value": round(float(values.mean()), 3), "low": round(float(values.mean() - half), 3),
        "high": round(float(values.mean() + half), 3), "n": len(values),
    }  # fmt: skip


def evaluate(model: EDM, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Stability and validity of `samples` molecules, and the bound of `test_items` test molecules.

    Settings: steps, sampler, churn, guidance; the card's own where they are not given.
    """
    sampler = card_sampler(card) | options.only(*SAMPLER)
    data = card["training"]["data"]
    watch("real molecules", 0, 1)
    real = data_row(data)
    watch("real molecules", 1, 1)
    samples = draw_samples(
        model, options.samples, seed=options.seed,
        progress=lambda done: watch("sampling", done, options.samples), **sampler,
    )  # fmt: skip
    found = judge(samples, training_smiles(load_dataset(data, "train")))
    calls = model.sampling([2], [0], **sampler).total_calls
    metrics = sample_metrics(found, real, steps=calls, **{k: v for k, v in sampler.items() if k != "steps"})
    metrics.append({"name": "diverged", "value": sum(s.diverged for s in samples), "n": len(samples)})
    if options.test_items:
        metrics += bounds(model, load_dataset(data, "test"), options.test_items, watch)
    return metrics


def named(watch: Watch, name: str, count: int) -> Progress:
    """Progress under a name."""
    return lambda done: watch(name, done, count)


def bounds(model: EDM, test: MoleculeDataset, count: int, watch: Watch) -> list[Metric]:
    """The bound of test molecules with the decoder at the model's own lowest level and at the published one."""
    scale = model.denoiser.features.coordinate_scale
    levels = {"negative_bound": None, "negative_bound_at_published_precision": PUBLISHED_LEVEL / scale}
    if model.denoiser.process.minimum <= PUBLISHED_LEVEL / scale:
        del levels["negative_bound_at_published_precision"]  # the model's own is as fine
    return [
        {
            "name": name, "unit": "nats",
            **measure_bound(model, test, count, lowest=lowest, progress=named(watch, name, count)),
            "lowest_angstrom": round((lowest or model.denoiser.process.minimum) * scale, 6),
        }
        for name, lowest in levels.items()
    ]  # fmt: skip


def glimpse(model: EDM) -> dict[str, float]:
    """A quick look during training: 128 samples of 50 network calls."""
    found = judge(draw_samples(model, 128, steps=50), None)
    return {name: round(v.value, 4) for name, v in found.values.items()}
