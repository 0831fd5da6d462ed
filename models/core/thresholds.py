"""The threshold of argmax flows (Hoogeboom et al., 2021, arXiv 2102.05379): numbers squeezed below another one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def squeezed_below(u: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """v = top - softplus(top - u) < top, and log dv/du = log sigmoid(top - u), one by one.

    v is u far below the top. Rounding never makes it the top itself, so an argmax keeps its winner.
    """
    room = top - u
    below = torch.nextafter(top.detach(), torch.full_like(top, -torch.inf))
    return torch.minimum(top - F.softplus(room), below), F.logsigmoid(room)
