"""How far a molecule lies from those that the network learned from, in the space of its own features.

Mahalanobis distances: of the molecule's mean feature, and of its strangest atom from the atoms of the same element.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Domain(nn.Module):
    """Centers and whitening matrices of molecule and atom features, fitted after training."""

    center: Tensor
    whiten: Tensor
    atom_centers: Tensor
    atom_whiten: Tensor

    def __init__(self, width: int, elements: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("whiten", torch.eye(width))
        self.register_buffer("atom_centers", torch.zeros(elements, width))
        self.register_buffer("atom_whiten", torch.eye(width).repeat(elements, 1, 1))

    def of_molecules(self, features: Tensor) -> Tensor:
        """Distances `[b]` of mean features `[b, width]`, in root mean square standard deviations."""
        return ((features - self.center) @ self.whiten).square().mean(-1).sqrt()

    def of_atoms(self, features: Tensor, types: Tensor) -> Tensor:
        """Distances of atom features `[..., width]` of element indices `[...]`."""
        out = features.new_zeros(types.shape)
        for k in range(len(self.atom_centers)):
            chosen = types == k
            away = (features[chosen] - self.atom_centers[k]) @ self.atom_whiten[k]
            out[chosen] = away.square().mean(-1).sqrt()
        return out
