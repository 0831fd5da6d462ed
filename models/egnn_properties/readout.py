"""From atom features to the components of a molecule."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.egnn_properties.pooling import Pool

MEANS = ("homo", "lumo")
"""Belong to one place in the molecule: weighted means over the atoms. Every other component is a sum."""

GROUPS = 8


class Reading(NamedTuple):
    """The network's share of each component `[b, components]`, and features of atoms and molecules."""

    values: Tensor
    atoms: Tensor  # [..., width]
    molecules: Tensor  # [b, 2 * width]


class PhysicalReadout(nn.Module):
    """Each component in the form that it has in physics.

    Energies, polarizability and heat capacity are sums of atomic terms. The dipole is the length of
    sum_i q_i (x_i - c) with charges that sum to zero, R2 has an atomic part w_i |x_i - c|^2 beside its sum, and
    the orbital energies are read from weighted means. Everything here is in full precision.
    """

    def __init__(self, width: int, components: tuple[str, ...]) -> None:
        super().__init__()
        self.sums = [k for k, name in enumerate(components) if name not in (*MEANS, "mu")]
        self.means = [k for k, name in enumerate(components) if name in MEANS]
        self.dipole = components.index("mu") if "mu" in components else None
        self.extent = components.index("r2") if "r2" in components else None
        self.count = len(components)
        self.atom = nn.Linear(width, len(self.sums) + 2)
        self.attention = nn.Linear(width, GROUPS)
        self.value = nn.Linear(width, width)
        self.hidden = nn.Linear(2 * width, width)
        self.last = nn.Linear(width, max(len(self.means), 1))

    def forward(self, f: Tensor, centered: Tensor, pool: Pool) -> Reading:
        """Atom features `[..., width]` and positions about the center of charge to the network's shares."""
        f = F.silu(f)
        terms = self.atom(f)
        values = f.new_zeros(*pool.total(terms[..., :1]).shape[:-1], self.count)
        sums = pool.total(terms[..., :-2])
        values = values.index_copy(-1, torch.tensor(self.sums, device=f.device), sums)
        one = torch.ones_like(terms[..., :1])
        size = pool.total(one)
        molecules = self.gathered(f, size, pool)
        if self.means:
            means = self.last(F.silu(self.hidden(molecules)))
            values = values.index_copy(-1, torch.tensor(self.means, device=f.device), means)
        if self.dipole is not None:
            charge = terms[..., -2:-1]
            charge = charge - pool.spread(pool.total(charge) / size)
            moment = pool.total(charge * centered)
            # The small constant keeps the gradient finite where the dipole vanishes.
            length = (moment.square().sum(-1, keepdim=True) + 1e-8).sqrt()
            values = values.index_copy(-1, torch.tensor([self.dipole], device=f.device), length)
        if self.extent is not None:
            extent = pool.total(terms[..., -1:] * centered.square().sum(-1, keepdim=True))
            values = values.index_add(-1, torch.tensor([self.extent], device=f.device), extent)
        return Reading(values, f, molecules)

    def gathered(self, f: Tensor, size: Tensor, pool: Pool) -> Tensor:
        """Plain mean beside means that each of several groups of channels weighs in its own way: `[b, 2 * width]`."""
        shares = pool.shares(self.attention(f))
        value = self.value(f)
        weighted = value * shares.repeat_interleave(value.shape[-1] // GROUPS, -1)
        return torch.cat([pool.total(f) / size, pool.total(weighted)], -1)


class PublishedReadout(nn.Module):
    """The published one: a network on each atom, their sum, a network on the sum (one property)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.node = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, f: Tensor, centered: Tensor, pool: Pool) -> Reading:  # noqa: ARG002 - one signature for both
        """Atom features `[..., width]` to the network's share of the property."""
        atoms = self.node(F.silu(f))
        total = pool.total(atoms)
        return Reading(self.last(F.silu(self.hidden(total))), atoms, torch.cat([total, total], -1))
