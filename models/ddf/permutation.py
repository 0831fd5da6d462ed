"""The conditional permutation: classes are renamed by how likely a network calls them."""

from __future__ import annotations

import torch
from torch import Tensor

GRID = 2.0**20
"""Logits are rounded to this many steps a unit before they are ranked.

Two evaluations that differ in the last digits (another batch size, another machine) then name the classes alike.
"""


def order(logits: Tensor) -> Tensor:
    """Classes `[..., K]` from the most to the least likely; equal ones in the order of their index."""
    return torch.sort((logits.double() * GRID).round(), dim=-1, descending=True, stable=True).indices


def to_ranks(x: Tensor, logits: Tensor) -> Tensor:
    """The rank of each class `x` `[...]` under `logits` `[..., K]`: 0 where it was the most likely.

    For two classes this is x XOR (the most likely class).
    """
    return order(logits).eq(x[..., None]).to(torch.int8).argmax(-1)


def from_ranks(z: Tensor, logits: Tensor) -> Tensor:
    """The inverse of `to_ranks` under the same logits."""
    return order(logits).gather(-1, z[..., None])[..., 0]
