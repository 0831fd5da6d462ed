"""The EGNN itself (arXiv 2102.09844, equations 3 to 6, with the changes of EDM and E-NF as options)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.egnn.config import EGNNConfig
from models.egnn.layers import Block, RadialBasis, SquaredDistance
from models.egnn.pairs import DensePairs, Pairs, UndirectedPairs


class EGNN(nn.Module):
    """Maps features and positions to features and positions, equivariantly.

    Rotations, reflections and translations of the input move the output positions alike and leave the output
    features alone; relabeling nodes relabels both.
    """

    def __init__(self, config: EGNNConfig) -> None:
        super().__init__()
        self.config = config
        self.describe: RadialBasis | SquaredDistance = (
            RadialBasis(config.radial, config.radial_cutoff) if config.radial else SquaredDistance()
        )
        self.embedding = nn.Linear(config.inputs, config.width)
        looks = 2 if config.input_distance and config.moves else 1
        edge_features = looks * self.describe.out + config.edge_inputs
        self.blocks = nn.ModuleList(Block(config, edge_features) for _ in range(config.layers))
        self.embedding_out = nn.Linear(config.width, config.outputs)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        pairs: Pairs | None = None,
        *,
        edges: Tensor | None = None,
        velocity: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features `[b, n, inputs]` and positions `[b, n, 3]` of a dense bucket (or `[nodes, ...]` with sparse
        pairs) to features `[..., outputs]` and positions of the same shape, in the unit of the input positions.

        `edges` are features of each pair, in the order of `pairs`; `velocity` has the shape of the positions.
        """
        given, wanted = (
            (edges is not None, velocity is not None),
            (bool(self.config.edge_inputs), self.config.velocity),
        )
        if given != wanted:
            raise ConfigError("EGNN: give edges and velocity exactly where the network was made for them.")
        if pairs is None:
            pairs = self.pairs_of(x)
        elif isinstance(pairs, UndirectedPairs) and not self.config.symmetric:
            raise ConfigError(
                "EGNN: undirected pairs need symmetric messages; this network's have a direction."
            )
        h = self.embedding(h).to(x.dtype)  # the residual stream keeps full precision under autocast
        difference, description, distance = self.look(x, pairs)
        fixed = [edges] if edges is not None else []
        if not self.config.moves:
            e = torch.cat([description, *fixed], -1) if fixed else description
            for block in self.blocks:
                h, _ = block(h, e, None, pairs)
            return self.embedding_out(h), x
        if self.config.input_distance:
            fixed = [description, *fixed]
        for k, block in enumerate(self.blocks):
            if k:
                difference, description, distance = self.look(x, pairs)
            e = torch.cat([description, *fixed], -1) if fixed else description
            direction = difference / (distance + self.config.distance_offset)
            h, displacement = block(h, e, direction, pairs, velocity)
            x = x + displacement
        return self.embedding_out(h), x

    def pairs_of(self, x: Tensor) -> Pairs:
        """All pairs of a dense bucket `[b, n, 3]`, as this network wants them."""
        dense = UndirectedPairs if self.config.symmetric else DensePairs
        return dense(x.shape[-2], device=x.device)

    def look(self, x: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Difference vectors, description and distance of every pair."""
        difference = pairs.receivers(x) - pairs.senders(x)
        squared = difference.square().sum(-1, keepdim=True)
        # The small constant keeps the gradient of the square root finite for coinciding nodes.
        distance = (squared + 1e-8).sqrt()
        return difference, self.describe(squared, distance), distance
