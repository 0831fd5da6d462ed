"""Noise processes by name, as cards and recipes write them."""

from __future__ import annotations

from typing import Any

import torch

from models.core.errors import ConfigError
from models.edm.learned import LearnedGamma
from models.edm.process import Tabulated, VarianceExploding, cosine, polynomial


def process_from_dict(values: dict[str, Any]) -> VarianceExploding | Tabulated | LearnedGamma:
    """The process named by a card: variance-exploding, polynomial, cosine, learned, or a table of gammas."""
    kinds = {
        "variance-exploding": VarianceExploding,
        "polynomial": polynomial,
        "cosine": cosine,
        "learned": LearnedGamma,
        "table": lambda gamma: Tabulated(torch.tensor(gamma)),
    }
    rest = dict(values)
    kind = rest.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"process kind is {kind!r}; choose one of {sorted(kinds)}.")
    try:
        return kinds[kind](**rest)  # type: ignore[no-any-return, operator]
    except TypeError as error:
        raise ConfigError(f"process {kind!r} cannot be made from {rest}: {error}.") from error
