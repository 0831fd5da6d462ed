"""Autoregressive diffusion models of strings (arXiv 2110.02037): any order, many places at once, lossless codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.ardm.model import ARDM

    return ARDM
