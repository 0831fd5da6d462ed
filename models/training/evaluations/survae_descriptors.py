"""Descriptor rows: held-out bounds beside independent histograms and a normal, and the percentiles of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.random import molecule_seed
from models.survae_descriptors.conditional import Conditions, draw
from models.survae_descriptors.model import DescriptorFlow
from models.training.data.rows import RowData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, significant

REFERENCE, DRAWS = 1000, 8


def scores(model: DescriptorFlow, rows: torch.Tensor, draws: int, seed: int = 0) -> NDArray[np.float64]:
    """Bounds of all rows, in nats."""
    found: list[float] = []
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        seeds = [molecule_seed(seed, start + k) for k in range(len(part))]
        found += [each.value for each in model.elbo(part, seeds, draws)]
    return np.array(found)


def quantiles(values: NDArray[np.float64]) -> list[float]:
    """The 0th to 100th percentile."""
    return [round(float(v), 4) for v in np.quantile(values, np.linspace(0, 1, 101))]


def finish(model: DescriptorFlow, data: str) -> dict[str, Any]:
    """After training: where training molecules stand, so that a score gets a percentile."""
    train = load(data, "train")
    chosen = np.linspace(0, len(train) - 1, min(REFERENCE, len(train))).astype(int)
    values = scores(model, train.rows[chosen], DRAWS)
    return {
        "reference": {"log_likelihood": quantiles(values), "molecules": len(values), "data": f"{data}/train"}
    }


def evaluate(model: DescriptorFlow, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Mean negative bound of `test_items` held-out rows, and the distances of `samples` drawn rows to real ones."""
    options.only()
    data = card["training"]["data"]
    train, test = load(data, "train"), load(data, "test")
    chosen = np.linspace(0, len(test) - 1, min(options.test_items or 1000, len(test))).astype(int)
    rows = test.rows[chosen]
    watch("scoring", 0, 1)
    values = -scores(model, rows, 16, options.seed)
    watch("scoring", 1, 1)
    cheap = -independent_log_prob(model, train, rows.double().numpy())
    metrics = [
        mean_metric("negative_log_likelihood_bound", values, "nats")
        | {
            "baseline": significant(cheap.mean()),
            "baseline_is": "independent histograms of the columns",
            "draws": 16,
        }
    ]
    drawn = []
    for k in range(options.samples):
        drawn.append(draw(model, Conditions({}, {}), molecule_seed(options.seed, k)).row)
        if k % 100 == 99 or k + 1 == options.samples:
            watch("sampling", k + 1, options.samples)
    sampled = torch.stack(drawn).numpy()
    real = test.rows.double().numpy()
    other = train.rows[np.linspace(0, len(train) - 1, len(sampled)).astype(int)].double().numpy()
    for name, a, b in (("model", sampled, real), ("data", other, real)):
        distance = np.mean([kolmogorov(a[:, k], b[:, k]) for k in range(a.shape[1])])
        correlation = np.abs(correlations(a) - correlations(b)).mean()
        if name == "model":
            metrics += [
                {"name": "mean_kolmogorov_distance", "value": significant(distance), "n": len(sampled)},
                {"name": "mean_correlation_error", "value": significant(correlation), "n": len(sampled)},
            ]
        else:
            metrics[-2]["data"], metrics[-1]["data"] = significant(distance), significant(correlation)
    return metrics


def independent_log_prob(
    model: DescriptorFlow, train: RowData, rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Every column by its own histogram: cells of 60th of the range for continuous ones, values for the others."""
    total = np.zeros(len(rows))
    for k, column in enumerate(model.columns):
        known = train.rows[:, k].double().numpy()
        if column.kind == "continuous":
            edges = np.linspace(column.low, column.high + 1e-9, 61)
            counts = np.histogram(known, edges)[0] + 0.5
            density = counts / counts.sum() / np.diff(edges)
            place = np.clip(np.searchsorted(edges, rows[:, k], side="right") - 1, 0, 59)
            total += np.log(density[place])
        else:
            cells = np.bincount(known.astype(int), minlength=int(rows[:, k].max()) + 2) + 0.5
            total += np.log(cells / cells.sum())[rows[:, k].astype(int)]
    return total


def kolmogorov(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Largest difference of the distribution functions of two samples."""
    points = np.concatenate([a, b])
    at = [np.searchsorted(np.sort(x), points, side="right") / len(x) for x in (a, b)]
    return float(np.abs(at[0] - at[1]).max())


def correlations(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's matrix; 0 where a column does not vary."""
    centered = rows - rows.mean(0)
    spread = centered.std(0)
    centered = centered / np.where(spread > 0, spread, 1)
    out: NDArray[np.float64] = centered.T @ centered / len(rows)
    return out
