"""Charged particles some time ahead, by an EGNN with velocities (arXiv 2102.09844, section 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.egnn_nbody.model import ParticleEGNN

    return ParticleEGNN
