"""Sums over the atoms of a molecule, for dense buckets, padded batches and sparse batches alike."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Pool(Protocol):
    """Moves values between atoms and molecules."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the atoms of each molecule: `[b, c]`."""

    def spread(self, values: Tensor) -> Tensor:
        """Values of molecules `[b, c]`, ready to broadcast against those of atoms."""

    def shares(self, logits: Tensor) -> Tensor:
        """Softmax over the atoms of each molecule, in the shape of `logits`."""


class DensePool:
    """Atoms `[b, n, c]`; `mask` `[b, n, 1]` marks real ones with 1 in a padded batch."""

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = mask

    def total(self, values: Tensor) -> Tensor:
        return values.sum(-2) if self.mask is None else (values * self.mask).sum(-2)

    def spread(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-2)

    def shares(self, logits: Tensor) -> Tensor:
        if self.mask is not None:
            logits = logits.masked_fill(self.mask == 0, float("-inf"))
        return logits.softmax(-2)


class SparsePool:
    """Atoms `[nodes, c]` of molecules whose numbers are in `molecule` `[nodes]`."""

    def __init__(self, molecule: Tensor, count: int) -> None:
        self.molecule, self.count = molecule, count

    def total(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.count, values.shape[-1]).index_add(0, self.molecule, values)

    def spread(self, values: Tensor) -> Tensor:
        return values[self.molecule]

    def shares(self, logits: Tensor) -> Tensor:
        index = self.molecule[:, None].expand_as(logits)
        empty = logits.new_full((self.count, logits.shape[-1]), float("-inf"))
        highest = empty.scatter_reduce(0, index, logits, "amax")
        weights = torch.exp(logits - self.spread(highest))
        return weights / self.spread(self.total(weights))
