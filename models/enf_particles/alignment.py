"""The relabeling and rotation of noise that bring it nearest to a configuration (Klein et al., arXiv 2306.15030).

Paths from aligned noise are shorter and straighter. The base is invariant under relabeling and rotation, and so is
the distribution of the data, so aligned noise still has the base's distribution.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def rotated_towards(noise: Tensor, x: Tensor) -> Tensor:
    """`noise` `[b, n, d]` turned or reflected onto `x` to the least squared distance (Kabsch, without his sign)."""
    u, _, v = torch.linalg.svd(noise.transpose(1, 2) @ x)
    turned: Tensor = noise @ u @ v
    return turned


def relabeled_towards(noise: Tensor, x: Tensor) -> Tensor:
    """The points of `noise` `[b, n, d]` in the order of least squared distance to those of `x`."""
    cost = torch.cdist(x, noise).square().cpu().numpy()
    order = np.stack([linear_sum_assignment(one)[1] for one in cost])
    return noise.gather(1, torch.from_numpy(order).to(noise.device)[:, :, None].expand_as(noise))


def aligned(noise: Tensor, x: Tensor, *, rounds: int = 2) -> Tensor:
    """`noise` `[b, n, d]` relabeled and rotated towards `x`, in turn; a local optimum, never farther than before."""
    for _ in range(rounds):
        noise = rotated_towards(relabeled_towards(noise, x), x)
    return noise
