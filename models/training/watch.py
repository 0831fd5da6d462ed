"""Samples drawn while a model trains: the loss alone does not say how good the molecules are."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from models.edm.model import EDM
from models.training.evaluate import measure_samples
from models.training.state import Progress


class SampleWatch:
    """Every `minutes` draws `count` molecules from the averaged weights and appends their metrics to samples.csv."""

    def __init__(self, config: Mapping[str, Any], folder: Path, *, minutes: float, count: int = 128) -> None:
        self.model = EDM.from_config(config).eval()
        self.path = folder / "samples.csv"
        self.seconds, self.count = 60 * minutes, count
        self.last = time.monotonic()

    def __call__(self, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """Look at the averaged weights, if it is time to."""
        if time.monotonic() - self.last < self.seconds:
            return
        self.model.load_state_dict(weights)
        figures = measure_samples(self.model, self.count, steps=50)
        row: dict[str, float] = {
            "molecules": progress.molecules,
            "samples": self.count,
            "network_calls": figures.calls,
        }
        row |= {name: round(v.value, 4) for name, v in figures.metrics.values.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.last = time.monotonic()
