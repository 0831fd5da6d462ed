"""Self-normalizing flows: learned inverses instead of the log-determinant's exact gradient (arXiv 2011.07248)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.selfnorm.model import SelfNormFlow

    return SelfNormFlow
