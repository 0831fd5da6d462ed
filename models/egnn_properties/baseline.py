"""The cheap model that the network starts from: linear in the numbers of atoms, and in the nuclear second moment.

R2 is an integral of r^2 over the electrons, most of which sit near nuclei, so sum_i Z_i |x_i - c|^2 about the
center of nuclear charge c explains almost all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.egnn_properties.pooling import Pool


def centered_on_charge(numbers: Tensor, x: Tensor, pool: Pool) -> Tensor:
    """Positions relative to the center of nuclear charge; `numbers` as `x` without the last axis."""
    charge = numbers[..., None].to(x.dtype)
    return x - pool.spread(pool.total(charge * x) / pool.total(charge))


def second_moment(numbers: Tensor, centered: Tensor, pool: Pool) -> Tensor:
    """sum_i Z_i |x_i - c|^2 of each molecule, `[b, 1]`, in Angstrom^2."""
    return pool.total(numbers[..., None].to(centered.dtype) * centered.square().sum(-1, keepdim=True))


@dataclass(frozen=True)
class Component:
    """One learned component: value = counts . (atoms of each element) + constant + moment * second moment
    + scale * (what the network says). A scale of 0 leaves the network out.
    """

    counts: tuple[float, ...]
    constant: float
    moment: float
    scale: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a card; unknown keys are errors."""
        wanted = set(cls.__dataclass_fields__)
        if set(values) != wanted:
            raise ConfigError(f"a component has {sorted(values)}, but needs {sorted(wanted)}.")
        return cls(**{**values, "counts": tuple(values["counts"])})

    @property
    def coefficients(self) -> list[float]:
        """All linear coefficients in the order of `cheap_features`."""
        return [*self.counts, self.constant, self.moment]


def cheap_features(numbers: Tensor, centered: Tensor, elements: Sequence[int], pool: Pool) -> Tensor:
    """What the cheap model reads: counts of the elements, 1, second moment; `[b, elements + 2]`."""
    known = torch.tensor(elements, device=numbers.device)
    counts = pool.total((numbers[..., None] == known).to(centered.dtype))
    moment = second_moment(numbers, centered, pool)
    return torch.cat([counts, torch.ones_like(moment), moment], -1)
