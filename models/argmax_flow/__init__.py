"""Argmax flows (arXiv 2102.05379): strings as what a flow's continuous values point at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_class() -> type[nn.Module]:
    """The class that a card of this family is loaded into; imported on demand, torch is heavy."""
    from models.argmax_flow.model import ArgmaxFlow

    return ArgmaxFlow
