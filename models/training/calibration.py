"""Intervals and a domain flag for property models that were trained elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.core.errors import ConfigError
from models.egnn_properties.composition import PROPERTIES
from models.egnn_properties.fitting import calibrate, fit_domain
from models.egnn_properties.model import PropertyEGNN
from models.training.data.properties import PropertyData, load

FEWEST = 500


def calibrated(model: PropertyEGNN, molecules: int, data: str = "qm9") -> dict[str, Any]:
    """Fit the domain on `molecules` training molecules, intervals on as many validation molecules; for a card.

    Raises ConfigError for fewer than 500 molecules, DatasetError when the data set is not installed.
    """
    if molecules < FEWEST:
        raise ConfigError(f"{molecules} molecules are too few for intervals; give at least {FEWEST}.")
    train, valid = load(data, "train"), load(data, "valid")
    fit_domain(model, *arrays(train, spread(len(train), molecules)))
    rows = spread(len(valid), molecules)
    columns = [PROPERTIES.index(name) for name in model.properties]
    sizes = sorted(train.size_histogram())
    found = calibrate(
        model, *arrays(valid, rows), valid.targets[rows][:, columns], (int(sizes[0]), int(sizes[-1]))
    )
    return found | {"data": f"{data}/valid", "geometry": "B3LYP/6-31G(2df,p)"}


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` rows, evenly spread."""
    rows: list[int] = np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int)).tolist()
    return rows


def arrays(data: PropertyData, rows: list[int]) -> tuple[list[Any], list[Any]]:
    """Numbers and positions of some molecules."""
    records = [data.molecules[row] for row in rows]
    return [record.numbers for record in records], [record.positions for record in records]
