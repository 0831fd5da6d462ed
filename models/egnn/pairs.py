"""The pairs (i, j) that exchange messages: dense size buckets, their upper triangle, or a sparse edge list.

The network is written once against this small interface. Dense buckets are fastest for small molecules (no
scatter); when messages are symmetric only the pairs i < j are computed, half the work; edge lists serve graphs,
cut-offs and large systems.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Pairs(Protocol):
    """Moves values between nodes and pairs; i receives, j sends."""

    def receivers(self, values: Tensor) -> Tensor:
        """Node values seen by the receiver of each pair, ready to broadcast against `senders`."""

    def senders(self, values: Tensor) -> Tensor:
        """Node values seen by the sender of each pair."""

    def joined(self, pair: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
        """`pair` `[pairs, c]` plus the values of its receiver and of its sender, both `[nodes, c]`.

        `pair` is overwritten where no gradient needs it; the caller has no further use for it.
        """

    def total(self, values: Tensor) -> Tensor:
        """Sum of pair values `[pairs, c]` over the senders of each receiver: `[nodes, c]`."""

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum of `weights[pairs, 1] * values[pairs, c]` over the senders of each receiver."""

    def displacement(self, weights: Tensor, directions: Tensor) -> Tensor:
        """The same sum for directions, which change sign when receiver and sender change places.

        Always in the precision of `directions`: rounded coordinates would break the equivariance.
        """


def accumulated(sum_so_far: Tensor, values: Tensor) -> Tensor:
    """The sum of both, in the memory of the first where no gradient needs it."""
    if sum_so_far.requires_grad or values.requires_grad:
        return sum_so_far + values
    return sum_so_far.add_(values)


class DensePairs:
    """All ordered pairs of distinct nodes in a batch of equal-sized sets: nodes `[b, n, c]`, pairs `[b, n, n, c]`.

    `mask` `[b, n, 1]` (1 for real nodes) is only for padded batches; buckets of one size need none.
    """

    def __init__(
        self, n_nodes: int, *, mask: Tensor | None = None, device: torch.device | None = None
    ) -> None:
        keep = 1.0 - torch.eye(n_nodes, device=device if mask is None else mask.device)
        self.keep = keep[None, :, :, None]
        if mask is not None:
            self.keep = self.keep * mask[:, :, None] * mask[:, None, :]

    def receivers(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-2)

    def senders(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-3)

    def joined(self, pair: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
        return accumulated(accumulated(pair, self.receivers(receiver)), self.senders(sender))

    def total(self, values: Tensor) -> Tensor:
        return self.weighted_total(self.keep.to(values.dtype), values)

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        weights = weights * self.keep.to(weights.dtype)
        shape = values.shape[:-1]
        # One batched vector-matrix product: the weighted pairs are never written to memory.
        total: Tensor = (weights.expand(*shape, 1).transpose(-1, -2) @ values).squeeze(-2)
        return total

    def displacement(self, weights: Tensor, directions: Tensor) -> Tensor:
        return (weights * self.keep.to(weights.dtype) * directions).sum(-2)


class UndirectedPairs:
    """The pairs i < j of a dense bucket: nodes `[b, n, c]`, pairs `[b, n(n-1)/2, c]`; needs symmetric messages."""

    def __init__(self, n_nodes: int, *, device: torch.device | None = None) -> None:
        self.i, self.j = torch.triu_indices(n_nodes, n_nodes, 1, device=device)
        nodes = torch.arange(n_nodes, device=device)[:, None]
        first, second = (nodes == self.i).float(), (nodes == self.j).float()
        self.incidence = first + second  # [n, pairs]
        self.signed = first - second

    def receivers(self, values: Tensor) -> Tensor:
        return values.index_select(-2, self.i)

    def senders(self, values: Tensor) -> Tensor:
        return values.index_select(-2, self.j)

    def joined(self, pair: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
        if receiver is sender and receiver.dim() == 3 and not pair.requires_grad:
            # One product with the incidence matrix beats two gathers and two sums; not so with their gradients.
            ends = self.incidence.T.to(receiver.dtype).expand(len(receiver), -1, -1)
            return pair.baddbmm_(ends, receiver)
        return accumulated(accumulated(pair, self.receivers(receiver)), self.senders(sender))

    def total(self, values: Tensor) -> Tensor:
        total: Tensor = self.incidence.to(values.dtype) @ values
        return total

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        # Weighting the small incidence matrix is cheaper than weighting the wide values.
        total: Tensor = (self.incidence.to(values.dtype) * weights.transpose(-1, -2)) @ values
        return total

    def displacement(self, weights: Tensor, directions: Tensor) -> Tensor:
        with torch.autocast(directions.device.type, enabled=False):  # it would round this product to bfloat16
            total: Tensor = self.signed.to(directions.dtype) @ (weights * directions)
        return total


class SparsePairs:
    """Pairs given as `edge_index` `[2, e]` (sender, receiver), torch-geometric's convention."""

    def __init__(self, edge_index: Tensor, n_nodes: int) -> None:
        self.sender, self.receiver = edge_index[0], edge_index[1]
        self.n_nodes = n_nodes

    def receivers(self, values: Tensor) -> Tensor:
        return values[self.receiver]

    def senders(self, values: Tensor) -> Tensor:
        return values[self.sender]

    def joined(self, pair: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
        return accumulated(accumulated(pair, self.receivers(receiver)), self.senders(sender))

    def total(self, values: Tensor) -> Tensor:
        out = values.new_zeros(self.n_nodes, values.shape[-1])
        return out.index_add(0, self.receiver, values)

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        return self.total(weights * values)

    def displacement(self, weights: Tensor, directions: Tensor) -> Tensor:
        return self.total(weights * directions)
