"""How a log-determinant is reported: a value with its kind, its uncertainty and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["exact", "upper_bound", "estimate"]


@dataclass(frozen=True)
class LogDeterminant:
    """log|det A| in nats, or an upper bound on it in expectation.

    `low` and `high` are a 95 % interval of the random draws behind `value` (not of a bias that they cannot see);
    `effective_samples` is how many equal weights the samples are worth; `matvecs` counts products with A or A^T.
    """

    value: float
    kind: Kind
    standard_error: float
    low: float
    high: float
    matvecs: int
    samples: int = 0
    effective_samples: float | None = None
