"""Means and shares with their intervals, as a card has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.evaluations import Metric

Floats = NDArray[np.float64]


def mean_metric(name: str, errors: Floats, unit: str) -> Metric:
    """A mean with its 95 % interval."""
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors))
    value = float(errors.mean())
    return {
        "name": name, "unit": unit, "value": significant(value), "low": significant(value - half),
        "high": significant(value + half), "n": len(errors),
    }  # fmt: skip


def share(name: str, marks: NDArray[np.bool_]) -> Metric:
    """A fraction with its 95 % Wilson interval."""
    n, p, z = len(marks), float(marks.mean()), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {
        "name": name, "unit": "share", "value": round(p, 5), "low": round(float(middle - half), 5),
        "high": round(float(middle + half), 5), "n": n,
    }  # fmt: skip


def significant(value: float | np.floating[Any]) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")
