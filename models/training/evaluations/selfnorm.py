"""Applicability domain: how well scores part QM9 from drug-like molecules and their fragments, beside cheap ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chemistry.datasets.descriptors import describe_all
from chemistry.datasets.fragments import drug_like, fragments
from models.selfnorm.model import SelfNormFlow, gaussian_log_prob
from models.training.data.rows import RowData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, significant
from models.training.evaluations.survae_descriptors import quantiles

REFERENCE = 5000
Floats = NDArray[np.float64]


def finish(model: SelfNormFlow, data: str) -> dict[str, Any]:
    """After training: where training molecules stand, and how far the learned inverses are off."""
    train = load(data, "train")
    chosen = np.linspace(0, len(train) - 1, min(REFERENCE, len(train))).astype(int)
    values = model.log_prob(train.rows[chosen]).double().detach().numpy()
    return {
        "reference": {"log_likelihood": quantiles(values), "molecules": len(values), "data": f"{data}/train"},
        "drift": [round(value, 4) for value in model.drift()],
    }


def evaluate(model: SelfNormFlow, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Area under the ROC curve of QM9 test molecules against `test_items` (1,000 at least) others.

    The molecules come in two halves: settings are chosen on one, where `choosing` is the area, and the figures are
    those of the other, which no choice has seen.
    """
    options.only()
    data = card["training"]["data"]
    train, test = load(data, "train"), load(data, "test")
    count = max(options.test_items, 1000)
    choosing, inside = (test.rows[every_other(len(test), count, half)] for half in (0, 1))
    known = train.rows
    mean, covariance = (known / 1).mean(0), torch.cov(known.T) + torch.diag(model.width.square() / 12 + 1e-3)
    metrics = [
        mean_metric("negative_log_likelihood", -model.log_prob(inside).double().numpy(), "nats")
        | {
            "baseline": significant(-float(gaussian_log_prob(inside, mean, covariance).mean())),
            "baseline_is": "one normal",
        },
        {"name": "largest_drift_of_the_learned_inverse", "value": significant(max(model.drift()))},
    ]
    for name, strangers in (("drug_like", drug_like), ("drug_fragments", fragments)):
        watch(name, 0, 1)
        seen, both = (
            torch.cat([part, RowData(describe_all(strangers(count, half)), counts=True).rows])
            for half, part in ((0, choosing), (1, inside))
        )
        mark = np.r_[np.ones(len(inside)), np.zeros(len(both) - len(inside))]
        seen_mark = np.r_[np.ones(len(choosing)), np.zeros(len(seen) - len(choosing))]
        area, low, high = auroc(model.log_prob(both).double().numpy(), mark)
        mahalanobis = auroc(gaussian_log_prob(both, mean, covariance).double().numpy(), mark)[0]
        neighbors = auroc(-nearest(known, both, model.scale), mark)[0]
        metrics.append(
            {
                "name": f"auroc_qm9_against_{name}", "value": significant(area), "low": significant(low),
                "high": significant(high), "n": len(both), "baseline": significant(max(mahalanobis, neighbors)),
                "mahalanobis": significant(mahalanobis), "nearest_neighbors": significant(neighbors),
                "choosing": significant(auroc(model.log_prob(seen).double().numpy(), seen_mark)[0]),
            }
        )  # fmt: skip
        watch(name, 1, 1)
    return metrics


def every_other(n: int, count: int, half: int) -> NDArray[np.int64]:
    """`count` of n places, evenly spread; those of half 1 lie between those of half 0."""
    step = max(n // count, 2)
    return np.arange(half * (step // 2), n, step)[:count]


def nearest(
    known: torch.Tensor, rows: torch.Tensor, scale: torch.Tensor, k: int = 5, most: int = 5000
) -> Floats:
    """Mean distance to the k nearest of (at most 5,000) training rows, columns standardized."""
    step = max(len(known) // most, 1)
    distances = torch.cdist(rows / scale, known[::step] / scale)
    found: Floats = distances.topk(k, largest=False).values.mean(1).double().numpy()
    return found


def auroc(values: Floats, mark: Floats) -> tuple[float, float, float]:
    """Area under the ROC curve with its 95 % interval (Hanley and McNeil, 1982); ties count half."""
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    _, inverse = np.unique(values, return_inverse=True)
    ranks = (np.bincount(inverse, ranks) / np.bincount(inverse))[inverse]
    a, b = int(mark.sum()), int(len(mark) - mark.sum())
    area = (ranks[mark == 1].sum() - a * (a + 1) / 2) / (a * b)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = np.sqrt((area * (1 - area) + (a - 1) * (q1 - area**2) + (b - 1) * (q2 - area**2)) / (a * b))
    return float(area), float(max(area - 1.96 * spread, 0)), float(min(area + 1.96 * spread, 1))
