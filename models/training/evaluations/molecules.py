"""Generated molecules judged by the published definitions, with real ones beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets import load_dataset
from chemistry.datasets.reference import training_smiles
from chemistry.metrics import Metrics, stability_and_validity
from models.training.evaluations import Metric

Progress = Callable[[int], None]


def nobody(done: int) -> None:
    """Progress that nobody watches."""


class Sampled(Protocol):
    """A generated molecule: atomic numbers `[n]`, positions `[n, 3]` in Angstrom; diverged when not finite."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    diverged: bool


def judge(samples: Sequence[Sampled], reference: frozenset[str] | None) -> Metrics:
    """Stability, validity, connectedness; novelty against `reference`. Diverged samples count as failures."""
    for sample in samples:
        if sample.diverged:  # scattered atoms: unstable and unconnected under every rule
            sample.positions[:] = 100.0 * np.arange(len(sample.numbers))[:, None]
    return stability_and_validity(samples, reference_smiles=reference)


def data_row(data: str, *, every: int = 4) -> Metrics:
    """The same metrics of every `every`-th molecule of the test split."""
    test = load_dataset(data, "test")
    reference = training_smiles(load_dataset(data, "train"))
    return stability_and_validity((test[i] for i in range(0, len(test), every)), reference_smiles=reference)


def sample_metrics(found: Metrics, real: Metrics, **said: Any) -> list[Metric]:
    """Figures for a card, the data row beside each; `said` goes into every one of them."""
    return [
        {
            "name": name, "unit": "share", "value": round(v.value, 5), "low": round(v.low, 5),
            "high": round(v.high, 5), "n": v.n, "data": round(real.values[name].value, 5), **said,
            "bond_rule": found.bond_rule, "rdkit": found.rdkit_version,
        }
        for name, v in found.values.items()
    ]  # fmt: skip
