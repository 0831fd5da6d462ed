"""Properties of molecules from their 3D structure by an EGNN (arXiv 2102.09844, section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.egnn_properties.model import PropertyEGNN

    return PropertyEGNN
