"""A density of rows of descriptors, mixed of numbers, counts and categories (SurVAE flow, arXiv 2007.02731)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.survae_descriptors.model import DescriptorFlow

    return DescriptorFlow
