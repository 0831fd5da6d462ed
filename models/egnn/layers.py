"""The parts of an EGNN: pair networks with a split first layer, node updates, displacements."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.egnn.config import EGNNConfig
from models.egnn.pairs import Pairs


def silu(fresh: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else holds: in its own memory where no gradient needs it."""
    return F.silu(fresh, inplace=not fresh.requires_grad)


class PairInput(nn.Module):
    """First layer of a network on [h_i, h_j, e_ij], split into node terms.

    W [h_i, h_j, e_ij] = W_i h_i + W_j h_j + W_e e_ij: the two large products run over n nodes instead of n^2
    pairs, with the same result. With W_i = W_j (symmetric) one product serves both, and
    the bias counts twice.
    """

    def __init__(self, width: int, edge_features: int, out: int, *, symmetric: bool) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, out)
        self.sender = None if symmetric else nn.Linear(width, out, bias=False)
        self.edge = nn.Linear(edge_features, out, bias=False)
        self.load_whole(
            nn.Linear(2 * width + edge_features, out)
        )  # torch's initial scale for the unsplit layer

    @torch.no_grad()
    def load_whole(self, whole: nn.Linear) -> None:
        """Take the weights of the unsplit layer on [h_i, h_j, e_ij]; a symmetric one has no use for those of h_j."""
        width = self.receiver.in_features
        self.receiver.weight.copy_(whole.weight[:, :width])
        self.receiver.bias.copy_(whole.bias)
        if self.sender is not None:
            self.sender.weight.copy_(whole.weight[:, width : 2 * width])
        self.edge.weight.copy_(whole.weight[:, 2 * width :])

    def forward(self, h: Tensor, e: Tensor, pairs: Pairs) -> Tensor:
        receiver = self.receiver(h)
        sender = receiver if self.sender is None else self.sender(h)
        return pairs.joined(self.edge(e), receiver, sender)


class Interaction(nn.Module):
    """One step of message passing on the features: messages, their gate, and the residual node update."""

    hidden_matrices: ClassVar[bool] = True  # Muon takes them

    def __init__(self, config: EGNNConfig, edge_features: int) -> None:
        super().__init__()
        width, channels = config.width, config.message_width
        self.norm = nn.LayerNorm(width) if config.normalize else None
        self.first = PairInput(width, edge_features, channels, symmetric=config.symmetric)
        self.second = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 1) if config.attention else None
        self.node_first = nn.Linear(width + channels, width)
        self.node_second = nn.Linear(width, width)
        self.divisor = config.divisor

    def forward(self, h: Tensor, e: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor | None]:
        """Updated features, the ungated messages m_ij, and their gates (None without attention)."""
        source = h if self.norm is None else self.norm(h)
        m = silu(self.second(silu(self.first(source, e, pairs))))
        gate = None if self.gate is None else torch.sigmoid(self.gate(m))
        received = pairs.total(m) if gate is None else pairs.weighted_total(gate, m)
        update = self.node_first(torch.cat([source, received / self.divisor], -1))
        return h + self.node_second(silu(update)), m, gate


class Displacement(nn.Module):
    """The scalar c_ij of the coordinate update, from a pair network on features or from the gated messages."""

    def __init__(self, config: EGNNConfig, edge_features: int) -> None:
        super().__init__()
        channels = config.message_width
        own = config.coordinates_from == "features"
        self.first = (
            PairInput(config.width, edge_features, channels, symmetric=config.symmetric) if own else None
        )
        self.hidden = nn.ModuleList(nn.Linear(channels, channels) for _ in range(config.coordinate_hidden))
        self.last = nn.Linear(channels, 1, bias=False)
        nn.init.xavier_uniform_(self.last.weight, gain=0.001)
        self.range = config.coordinate_range

    def forward(self, h: Tensor, m: Tensor, gate: Tensor | None, e: Tensor, pairs: Pairs) -> Tensor:
        if self.first is not None:
            c = silu(self.first(h, e, pairs))
        elif gate is None:
            c = m
        elif not len(self.hidden):  # the last layer is linear, so the gate may come after it, on one channel
            return self.bounded(self.last(m) * gate)
        else:
            c = gate * m
        for layer in self.hidden:
            c = silu(layer(c))
        return self.bounded(self.last(c))

    def bounded(self, c: Tensor) -> Tensor:
        return c if self.range is None else torch.tanh(c) * self.range


class RadialBasis(nn.Module):
    """Distances as Gaussians on 0..cutoff, evenly spaced, with d^2 beside them for what lies beyond."""

    centers: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(0.0, cutoff, count), persistent=False)
        self.width = cutoff / max(count - 1, 1)
        self.out = count + 1

    def forward(self, squared: Tensor, distance: Tensor) -> Tensor:
        scaled = (distance - self.centers) / self.width
        return torch.cat([torch.exp(-0.5 * scaled.square()), 0.05 * squared], -1)


class SquaredDistance(nn.Module):
    """The published edge feature: the squared distance itself."""

    out = 1

    def forward(self, squared: Tensor, distance: Tensor) -> Tensor:  # noqa: ARG002
        return squared


class Carry(nn.Module):
    """The factor of the velocity in a displacement, read from the node's features (equation 7)."""

    def __init__(self, config: EGNNConfig) -> None:
        super().__init__()
        self.first = nn.Linear(config.width, config.width)
        self.second = nn.Linear(config.width, 1)

    def forward(self, h: Tensor) -> Tensor:
        factor: Tensor = self.second(silu(self.first(h)))
        return factor


class Block(nn.Module):
    """Message passing, then one coordinate update; edge features and directions come from the block's input."""

    hidden_matrices: ClassVar[bool] = True  # Muon takes them

    def __init__(self, config: EGNNConfig, edge_features: int) -> None:
        super().__init__()
        self.interactions = nn.ModuleList(Interaction(config, edge_features) for _ in range(config.sublayers))
        self.displacement = Displacement(config, edge_features) if config.moves else None
        self.carry = Carry(config) if config.velocity else None
        self.divisor = config.divisor

    def forward(
        self, h: Tensor, e: Tensor, direction: Tensor | None, pairs: Pairs, velocity: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Updated features and the displacement of every node (None where nodes do not move)."""
        m, gate = h, None
        for interaction in self.interactions:
            h, m, gate = cast("tuple[Tensor, Tensor, Tensor | None]", interaction(h, e, pairs))
        if self.displacement is None or direction is None:
            return h, None
        c = self.displacement(h, m, gate, e, pairs)
        moved = pairs.displacement(c.to(direction.dtype), direction) / self.divisor
        return h, moved if self.carry is None or velocity is None else moved + self.carry(h) * velocity
