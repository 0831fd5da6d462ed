"""Continuous equivariant flows for systems of identical particles (arXiv 2105.09016, section 5), and the systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.enf_particles.model import ParticleFlow

    return ParticleFlow
