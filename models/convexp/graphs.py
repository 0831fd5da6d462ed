"""What the network sees of a molecular graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NUMBERS = (1, 6, 7, 8, 9)
"""Elements by atomic number."""

ORDERS = (1.0, 1.5, 2.0, 3.0)
ATOM_WIDTH = len(NUMBERS) + 4
EDGE_WIDTH = len(ORDERS)


def atom_features(atoms: Tensor) -> Tensor:
    """From `[n, 4]` (number, formal charge, in a ring, aromatic): one-hot element, charge and its square, flags."""
    element = torch.stack([atoms[:, 0] == z for z in NUMBERS], 1).float()
    charge = atoms[:, 1:2].float()
    return torch.cat([element, charge, charge.square(), atoms[:, 2:4].float()], 1)


def bond_features(orders: Tensor) -> Tensor:
    """One-hot bond orders `[m]`."""
    return torch.stack([orders == order for order in ORDERS], 1).float()


class GraphNetwork(torch.nn.Module):
    """Messages along bonds and from the molecule's mean; relabeled atoms give relabeled features."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        nn = torch.nn
        self.embedding = nn.Linear(ATOM_WIDTH, width)
        self.messages = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * width + EDGE_WIDTH, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
            )
            for _ in range(layers)
        )
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(layers)
        )

    def forward(self, atoms: Tensor, edge_index: Tensor, edges: Tensor, owner: Tensor, graphs: int) -> Tensor:
        """Features `[n, width]` of all atoms of a batch of `graphs` graphs."""
        source, target = edge_index
        h = F.silu(self.embedding(atoms))
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(torch.cat([h[target], h[source], edges.to(h.dtype)], 1))
            received = torch.zeros_like(h).index_add(0, target, sent)
            h = h + update(torch.cat([h, received, mean_of(h, owner, graphs)[owner]], 1))
        return h


def mean_of(values: Tensor, owner: Tensor, graphs: int) -> Tensor:
    """The mean over the nodes of each graph, `[graphs, ...]`."""
    total = values.new_zeros(graphs, *values.shape[1:]).index_add(0, owner, values)
    count = torch.bincount(owner, minlength=graphs).to(values.dtype)
    return total / count.reshape(-1, *[1] * (values.dim() - 1))


def sum_of(values: Tensor, owner: Tensor, graphs: int) -> Tensor:
    """The sum over the nodes of each graph."""
    return values.new_zeros(graphs, *values.shape[1:]).index_add(0, owner, values)
