"""What is fitted after training: the domain on training molecules, intervals and thresholds on validation ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.edm.buckets import size_buckets
from models.egnn_properties.conformal import conformal_quantile, quantiles
from models.egnn_properties.model import PropertyEGNN
from models.egnn_properties.predict import DISTANCES, Raw, raw_predictions

FALSE_ALARMS = 0.01
"""Share of molecules like the training data that may be flagged, both distances together."""

Numbers = Sequence[NDArray[np.integer]]
Positions = Sequence[NDArray[np.floating]]


@torch.inference_mode()
def features(
    model: PropertyEGNN, numbers: Numbers, positions: Positions
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Mean features `[b, width]`, atom features `[b * n, width]` and their element indices, bucket by bucket."""
    for _, z, x in size_buckets(numbers, positions, model.device):
        found = model(z, x.to(model.dtype))
        width = found.molecules.shape[-1] // 2
        yield (
            found.molecules[:, :width].double(),
            found.atoms.flatten(0, 1).double(),
            model.types(z).flatten(),
        )


def whitening(covariance: Tensor) -> Tensor:
    """W with W W^T the inverse of the covariance; its smallest directions are held at a thousandth of the mean."""
    floor = 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)
    whiten: Tensor = torch.linalg.inv(torch.linalg.cholesky(covariance + floor)).T
    return whiten


@torch.inference_mode()
def fit_domain(model: PropertyEGNN, numbers: Numbers, positions: Positions) -> None:
    """Centers and whitening from training molecules; elements with few atoms lean on the covariance of all."""
    parts = list(features(model, numbers, positions))
    molecules, atoms, types = (torch.cat([part[k] for part in parts]) for k in range(3))
    model.domain.center.copy_(molecules.mean(0))
    model.domain.whiten.copy_(whitening(torch.cov(molecules.T)))
    width = atoms.shape[1]
    of_element = [atoms[types == k] for k in range(len(model.elements))]
    pooled = sum(
        (torch.cov(part.T) * len(part) for part in of_element if len(part) > 1), torch.zeros(width, width)
    )
    pooled = pooled / len(atoms)
    for k, part in enumerate(of_element):
        own = torch.cov(part.T) * len(part) if len(part) > 1 else torch.zeros(width, width, dtype=atoms.dtype)
        if len(part):
            model.domain.atom_centers[k].copy_(part.mean(0))
        model.domain.atom_whiten[k].copy_(whitening((own + 4 * width * pooled) / (len(part) + 4 * width)))


def calibrate(
    model: PropertyEGNN,
    numbers: Numbers,
    positions: Positions,
    wanted: NDArray[np.float64],
    sizes: tuple[int, int],
) -> dict[str, Any]:
    """Interval quantiles and domain thresholds from held-out molecules with properties `wanted` `[n, properties]`."""
    found: list[Raw | None] = [None] * len(numbers)
    for row, raw in raw_predictions(model, numbers, positions):
        found[row] = raw
    raws = [raw for raw in found if raw is not None]
    scores = np.abs(np.stack([raw.values for raw in raws]) - wanted) / np.stack([raw.scales for raw in raws])
    distances = np.stack([raw.distances for raw in raws])
    domain: dict[str, Any] = {
        name: conformal_quantile(distances[:, k], 1 - FALSE_ALARMS / len(DISTANCES))
        for k, name in enumerate(DISTANCES)
    }
    intervals: Mapping[str, Any] = {name: quantiles(scores[:, k]) for k, name in enumerate(model.properties)}
    return {
        "molecules": len(raws), "intervals": intervals,
        "domain": domain | {"sizes": list(sizes), "false_alarms": FALSE_ALARMS},
    }  # fmt: skip
