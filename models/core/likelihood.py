"""How a likelihood is reported: a value with its kind, its standard error and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["exact", "lower_bound", "estimate"]


@dataclass(frozen=True)
class Likelihood:
    """log p of one molecule in nats, or a bound on it.

    standard_error is that of the random draws behind `value`; zero when nothing was drawn. `terms` add up to it.
    integration_error estimates what a numerical integral adds, in nats; 0 where there is none or none is told.
    """

    value: float
    standard_error: float
    kind: Kind
    draws: int
    terms: Mapping[str, float] = field(default_factory=dict)
    integration_error: float = 0.0
