"""Equivariant diffusion for molecules (EDM, arXiv 2203.17003) and its faster descendants."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.edm.model import EDM

    return EDM
