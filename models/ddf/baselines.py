"""The cheap densities beside the flow: independent bits, and the best tree (Chow and Liu, 1968)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor, nn

PSEUDO = 0.5
"""Observations of every cell beforehand, in both baselines."""


class Tree(NamedTuple):
    """Bit i depends on bit parent[i] (the root on itself): p(bit = 1 | parent = 0 or 1) is one[i]."""

    parent: NDArray[np.int64]
    one: NDArray[np.float64]


def chow_liu(bits: NDArray[np.uint8]) -> Tree:
    """The tree that maximises the likelihood of `bits` `[n, d]`: a maximum spanning tree of mutual information."""
    x = bits.astype(np.float64)
    n, d = x.shape
    both = x.T @ x
    ones = x.sum(0)
    cells = {
        (1, 1): both, (1, 0): ones[:, None] - both, (0, 1): ones[None, :] - both,
        (0, 0): n - ones[:, None] - ones[None, :] + both,
    }  # fmt: skip
    information = np.zeros((d, d))
    for (a, b), count in cells.items():
        p = count / n
        pa = (ones if a else n - ones)[:, None] / n
        pb = (ones if b else n - ones)[None, :] / n
        with np.errstate(divide="ignore", invalid="ignore"):
            information += np.where(p > 0, p * np.log(p / (pa * pb)), 0.0)
    # Constant bits carry no information, and SciPy takes small weights for absent edges: one nat more for every
    # edge changes no comparison of trees.
    weights = -1.0 - np.maximum(information, 0)
    np.fill_diagonal(weights, 0)
    tree = minimum_spanning_tree(weights)
    _, parent = breadth_first_order(tree, 0, directed=False)
    parent = np.where(parent < 0, np.arange(d), parent).astype(np.int64)
    rows = np.arange(d)
    one = np.empty((d, 2))
    for b in (0, 1):
        held = cells[1, b][rows, parent] + PSEUDO
        one[:, b] = held / (held + cells[0, b][rows, parent] + PSEUDO)
    root = parent == rows
    one[root] = ((ones + PSEUDO) / (n + 2 * PSEUDO))[root, None]
    return Tree(parent, one)


class Baselines(nn.Module):
    """Both baselines as buffers, so that a card's weights carry them."""

    parent: Tensor
    tree: Tensor
    marginal: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("parent", torch.arange(dimensions))
        self.register_buffer("tree", torch.full((dimensions, 2), 0.5))
        self.register_buffer("marginal", torch.full((dimensions,), 0.5))

    def fit(self, bits: NDArray[np.uint8]) -> None:
        """Count `bits` `[n, d]`."""
        found = chow_liu(bits)
        self.parent, self.tree = torch.from_numpy(found.parent), torch.from_numpy(found.one).float()
        self.marginal = torch.from_numpy((bits.sum(0) + PSEUDO) / (len(bits) + 2 * PSEUDO)).float()

    def bernoulli(self, x: Tensor) -> Tensor:
        """log p of independent bits, `[b]`."""
        return _bernoulli(x, self.marginal.double())

    def chow_liu(self, x: Tensor) -> Tensor:
        """log p of the tree, `[b]`."""
        one = self.tree.double().expand(len(x), -1, -1)
        given = x[:, self.parent].long()
        return _bernoulli(x, one.gather(-1, given[..., None])[..., 0])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Bits `[n, d]` (uint8) of the tree, parents before children."""
        parent = self.parent.tolist()
        uniform = torch.rand(n, len(parent), generator=generator, dtype=torch.float64)
        x = torch.zeros(n, len(parent), dtype=torch.uint8)
        children: dict[int, list[int]] = {}
        for bit, above in enumerate(parent):
            if bit != above:
                children.setdefault(above, []).append(bit)
        ready = [bit for bit, above in enumerate(parent) if bit == above]
        for bit in ready:  # grows while it is read
            x[:, bit] = uniform[:, bit] < self.tree[bit].double()[x[:, parent[bit]].long()]
            ready += children.get(bit, [])
        return x


def _bernoulli(x: Tensor, p: Tensor) -> Tensor:
    return torch.where(x > 0, p.log(), torch.log1p(-p)).sum(1)
