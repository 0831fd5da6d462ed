"""Conditions: properties that a model is told of the molecule it is to make (EDM, section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.edm.denoiser import DataDenoiser, Denoised, Denoiser, NoiseDenoiser
from models.edm.features import AtomFeatures
from models.edm.guidance import GuidedDenoiser
from models.edm.process import Process
from models.egnn.pairs import Pairs

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


class ToldDenoiser:
    """A conditional denoiser that has been told the scaled context `[b, conditions]` of its b molecules."""

    def __init__(self, denoiser: DataDenoiser | NoiseDenoiser, context: Tensor | None) -> None:
        self.denoiser, self.context = denoiser, context

    @property
    def features(self) -> AtomFeatures:
        return self.denoiser.features

    @property
    def process(self) -> Process:
        return self.denoiser.process

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def dtype(self) -> torch.dtype:
        return self.denoiser.dtype

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        return self.denoiser(x, h, level, pairs, context=self.context)  # type: ignore[no-any-return]


class RememberingDenoiser(ToldDenoiser):
    """A self-conditioned denoiser that sees its last estimate of its b molecules, those of one sampling run."""

    previous: Denoised | None = None

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        self.previous = self.denoiser(x, h, level, pairs, context=self.context, previous=self.previous)
        return self.previous


def told(
    denoiser: Denoiser, context: Tensor | None, rows: Sequence[int], *, remembers: bool = False
) -> Denoiser:
    """The denoiser for some rows of a scaled context; itself where there is none. With `remembers` a self-conditioned
    one sees what it said before.
    """
    if isinstance(denoiser, GuidedDenoiser):
        strong = told(denoiser.strong, context, rows, remembers=remembers)
        return GuidedDenoiser(strong, denoiser.weak, denoiser.guidance)
    if not isinstance(denoiser, (DataDenoiser, NoiseDenoiser)):
        return denoiser
    part = None if context is None else context[list(rows)].to(denoiser.device, denoiser.dtype)
    if remembers and isinstance(denoiser, DataDenoiser) and denoiser.self_conditioned:
        return RememberingDenoiser(denoiser, part)
    return denoiser if part is None else ToldDenoiser(denoiser, part)
