"""Predictions for molecules of any sizes: values, intervals, and whether a molecule is like the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.edm.buckets import size_buckets
from models.egnn_properties.conformal import half_width
from models.egnn_properties.model import PropertyEGNN

DISTANCES = ("molecule", "atom")
"""The two distances of `Domain`: of the whole molecule, and of its strangest atom."""


class Raw(NamedTuple):
    """One molecule: values and error scales of the properties `[p]`, distances `[2]`, the strangest atom."""

    values: NDArray[np.float64]
    scales: NDArray[np.float64]
    distances: NDArray[np.float64]
    strangest: int


@dataclass(frozen=True)
class Prediction:
    """Properties of one molecule by name as (value, low, high), in the card's units.

    outside: why the molecule is unlike the training data ("size", "molecule", "atom"); empty where it is like them.
    distances: both distances over their thresholds, so that 1 is the border. strangest: the atom farthest away.
    """

    values: Mapping[str, tuple[float, float, float]]
    outside: tuple[str, ...]
    distances: Mapping[str, float]
    strangest: int


@torch.inference_mode()
def raw_predictions(
    model: PropertyEGNN,
    numbers: Sequence[NDArray[np.integer]],
    positions: Sequence[NDArray[np.floating]],
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Raw]]:
    """Row number and raw prediction of every molecule, as the size buckets are finished; ends when `cancelled`.

    The caller has checked that the model knows all elements.
    """
    for rows, z, x in size_buckets(numbers, positions, model.device):
        if cancelled():
            return
        found = model(z, x.to(model.dtype))
        width = found.molecules.shape[-1] // 2
        of_molecules = model.domain.of_molecules(found.molecules[:, :width])
        of_atoms, strangest = model.domain.of_atoms(found.atoms, model.types(z)).max(-1)
        distances = torch.stack([of_molecules, of_atoms], -1)
        for k, row in enumerate(rows):
            yield row, Raw(
                found.values[k].double().cpu().numpy(), found.scales[k].double().cpu().numpy(),
                distances[k].double().cpu().numpy(), int(strangest[k]),
            )  # fmt: skip


def with_intervals(
    raw: Raw, n_atoms: int, calibration: Mapping[str, Any], properties: Sequence[str], coverage: float
) -> Prediction:
    """The prediction that a user sees. Raises CheckpointError for a coverage that was not calibrated."""
    values = {}
    for k, name in enumerate(properties):
        half = half_width(calibration["intervals"][name], coverage) * float(raw.scales[k])
        value = float(raw.values[k])
        values[name] = (value, value - half, value + half)
    thresholds = calibration["domain"]
    distances = {name: float(raw.distances[k]) / thresholds[name] for k, name in enumerate(DISTANCES)}
    low, high = thresholds["sizes"]
    outside = ["size"] if not low <= n_atoms <= high else []
    outside += [name for name, distance in distances.items() if not distance <= 1]
    return Prediction(values, tuple(outside), distances, raw.strangest)
