"""How each family is measured: `evaluations/FAMILY.py` has `evaluate`, and `glimpse` for a look while training."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from models.core.errors import CheckpointError, ConfigError

Metric = dict[str, Any]
"""One measured figure for a card: `name`, `value`, and where they apply `low`, `high` (95 % interval), `n`, `unit`
("share" for fractions), `data` (the same figure of real data), `baseline` (that of the cheap method beside it) and
`published` (the paper's, of its own model and data).
"""

Watch = Callable[[str, int, int], None]
"""Progress: what is being done, how many are finished, of how many."""


@dataclass(frozen=True)
class Options:
    """What an evaluation is asked for: its size, its seed, and settings that the family knows."""

    samples: int = 1000
    test_items: int = 200
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def only(self, *known: str) -> dict[str, Any]:
        """The settings; raises ConfigError for a name that the family does not know."""
        unknown = sorted(set(self.settings) - set(known))
        if unknown:
            raise ConfigError(f"unknown settings {unknown} for this model; known are {sorted(known)}.")
        return dict(self.settings)


def finished(family: str, model: Any, data: str) -> dict[str, Any]:
    """What a family fits to the data set `data` after training: buffers of the model, and entries for its card."""
    finish: Callable[[Any, str], dict[str, Any]] | None = None
    with suppress(CheckpointError):
        finish = getattr(evaluation(family), "finish", None)
    return {} if finish is None else finish(model.eval(), data)


def evaluation(family: str) -> ModuleType:
    """The module that measures a family. Raises CheckpointError when the family has none."""
    name = f"{__name__}.{family}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise CheckpointError(f"there is no evaluation for the family {family!r}.") from error
