"""Samples drawn while a model trains: the loss alone does not say how good they are."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.training.evaluations import evaluation
from models.training.state import Progress
from models.weights.files import family_class


class SampleWatch:
    """Every `minutes` measures the averaged weights by the family's `glimpse` and appends a row to samples.csv."""

    def __init__(self, family: str, config: Mapping[str, Any], folder: Path, *, minutes: float) -> None:
        build: Any = family_class(family)
        self.model: nn.Module = build(config).eval()
        self.glimpse: Callable[[nn.Module], dict[str, float]] | None = getattr(
            evaluation(family), "glimpse", None
        )
        self.path = folder / "samples.csv"
        self.seconds = 60 * minutes
        self.last = time.monotonic()

    def __call__(self, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """Look at the averaged weights, if it is time to."""
        if self.glimpse is None or time.monotonic() - self.last < self.seconds:
            return
        self.model.load_state_dict(weights)
        row = {"molecules": progress.molecules, **self.glimpse(self.model)}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.last = time.monotonic()
