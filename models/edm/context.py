"""Conditions: properties that a model is told of the molecule it is to make (EDM, section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from models.core.errors import ConfigError

Context = Sequence[Sequence[float]]
"""For each molecule the values of all conditions, in their order and units."""


@dataclass(frozen=True)
class Condition:
    """One property: the network sees (value - mean) / spread of it at every atom."""

    name: str
    unit: str = ""
    mean: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or not math.isfinite(self.mean) or not 0 < self.spread < math.inf:
            raise ConfigError(
                f"condition {self.name!r}: it needs a name, a finite mean and a positive spread, "
                f"but has {self.mean} and {self.spread}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a card; unknown keys are errors."""
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown or "name" not in values:
            raise ConfigError(
                f"a condition has {sorted(values)}; known are {sorted(cls.__dataclass_fields__)}."
            )
        return cls(**values)


def scaled(conditions: Sequence[Condition], context: Context | None, count: int) -> Tensor | None:
    """What the network sees of the conditions, float64 `[count, conditions]`; None where there are none.

    Raises ConfigError when values are missing, too many or not finite.
    """
    if not conditions:
        if context is not None:
            raise ConfigError("this model takes no conditions; leave the context out.")
        return None
    names = ", ".join(condition.name for condition in conditions)
    if context is None:
        raise ConfigError(f"this model needs a value of {names} for every molecule.")
    if len(context) != count or any(len(row) != len(conditions) for row in context):
        raise ConfigError(f"the context must hold {count} rows with one value each of {names}.")
    values = torch.tensor([list(row) for row in context], dtype=torch.float64)
    if not bool(torch.isfinite(values).all()):
        raise ConfigError(f"values of {names} must be finite.")
    mean = torch.tensor([condition.mean for condition in conditions], dtype=torch.float64)
    return (values - mean) / torch.tensor([condition.spread for condition in conditions], dtype=torch.float64)
