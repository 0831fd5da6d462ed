"""Charged particles by the squared error of their positions, three methods in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.egnn_nbody.model import METHODS, ParticleEGNN
from models.egnn_properties.conformal import COVERAGES, half_width, quantiles
from models.training.data.nbody import ParticleData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant

PUBLISHED = {"egnn": 0.0071, "gnn": 0.0107, "linear": 0.0819}
"""Mean squared errors in the paper (arXiv 2102.09844, table 2), on its own 2,000 test trajectories."""

Floats = NDArray[np.float64]


@torch.inference_mode()
def misses(model: ParticleEGNN, data: ParticleData, method: str) -> Floats:
    """Vectors from the true to the predicted positions, `[systems, particles, 3]`."""
    values = torch.from_numpy(data.values).to(model.device, model.dtype)
    x, v, q, target = torch.split(values, [3, 3, 1, 3], -1)
    parts = [
        model(x[k : k + 200], v[k : k + 200], q[k : k + 200], method=method) for k in range(0, len(x), 200)
    ]
    out: Floats = (torch.cat(parts) - target).double().cpu().numpy()
    return out


def finish(model: ParticleEGNN, data: str) -> dict[str, Any]:
    """After training: radii that hold a given share of the validation split's particles, for each method."""
    valid = load(data, "valid")
    radii = {
        method: quantiles(np.linalg.norm(misses(model, valid, method), axis=-1).ravel()) for method in METHODS
    }
    return {"calibration": {"radius": radii, "systems": len(valid), "data": f"{data}/valid"}}


def evaluate(model: ParticleEGNN, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Mean squared error of a coordinate on the whole test split, and the coverage of the radii."""
    options.only()
    test = load(card["training"]["data"], "test")
    metrics: list[Metric] = []
    radii = card["calibration"]["radius"]
    errors = {}
    for done, method in enumerate(METHODS, 1):
        errors[method] = misses(model, test, method)
        watch("methods", done, len(METHODS))
    linear = np.square(errors["linear"]).mean((1, 2))
    for method in METHODS:
        squared = np.square(errors[method]).mean((1, 2))
        metrics.append(
            mean_metric(f"mse_{method}", squared, "")
            | {"standard_error": significant(squared.std(ddof=1) / np.sqrt(len(squared)))}
            | {"median": significant(float(np.median(squared))), "baseline": significant(linear.mean())}
            | {"published": PUBLISHED[method]}
        )
        distance = np.linalg.norm(errors[method], axis=-1)
        for level in COVERAGES if method == "egnn" else ():
            inside = distance <= half_width(radii[method], level)
            metrics.append(
                share(f"coverage_{100 * level:g}", inside.ravel())
                | {"radius": half_width(radii[method], level)}
            )
    return metrics
