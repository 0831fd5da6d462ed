"""Equivariant normalizing flows for molecules (E-NF, arXiv 2105.09016), exact densities by continuous flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.enf.model import ENF

    return ENF
