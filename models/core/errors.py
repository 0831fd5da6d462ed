"""The error tree of the mathematics.

EquimolError
|-- ConfigError        a model, sampler or recipe that cannot be assembled
|-- ShapeError         a tensor of the wrong shape
|-- CheckpointError    weights that are missing, altered or of another model
`-- DivergedError      numbers that left the finite range
"""

from __future__ import annotations

from collections.abc import Sequence


class EquimolError(Exception):
    """Base class of all errors that Equimol raises on purpose."""


class ConfigError(EquimolError, ValueError):
    """A configuration that cannot be assembled; the message names the obstruction."""


class ShapeError(EquimolError, ValueError):
    """A tensor whose shape is not the one wanted."""

    def __init__(self, name: str, received: Sequence[int], expected: str) -> None:
        super().__init__(f"{name} has shape {tuple(received)}, but {expected} is needed.")
        self.name = name
        self.received = tuple(received)
        self.expected = expected


class CheckpointError(EquimolError, RuntimeError):
    """Weights that are missing, altered, or belong to another configuration."""


class DivergedError(EquimolError, ArithmeticError):
    """A computation that produced NaN or infinity."""
