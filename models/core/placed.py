"""Where a model is."""

from __future__ import annotations

import torch
from torch import nn


class Placed(nn.Module):
    """A module whose weights are all in one place and of one precision."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that it computes in."""
        return next(self.parameters()).dtype
