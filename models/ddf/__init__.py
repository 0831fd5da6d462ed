"""Discrete denoising flows (arXiv 2107.11625): exact probabilities of categorical vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.ddf.model import FingerprintDDF

    return FingerprintDDF
