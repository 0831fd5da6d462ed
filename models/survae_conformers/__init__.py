"""A density of the bond lengths of a molecule, an unordered set of any size (SurVAE flow, arXiv 2007.02731)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.survae_conformers.model import BondLengthFlow

    return BondLengthFlow
