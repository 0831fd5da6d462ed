"""The convolution exponential and generalized Sylvester flows (arXiv 2006.01910), and a density on graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.convexp.model import NodeDensity

    return NodeDensity
