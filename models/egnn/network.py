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
        self.blocks = nn.ModuleList(Block(config, 2 * self.describe.out) for _ in range(config.layers))
        self.embedding_out = nn.Linear(config.width, config.outputs)

    def forward(self, h: Tensor, x: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        """Features `[b, n, inputs]` and positions `[b, n, 3]` of a dense bucket (or `[nodes, ...]` with sparse
        pairs) to features `[..., outputs]` and positions of the same shape, in the unit of the input positions.
        """
        if pairs is None:
            dense = UndirectedPairs if self.config.symmetric else DensePairs
            pairs = dense(x.shape[-2], device=x.device)
        elif isinstance(pairs, UndirectedPairs) and not self.config.symmetric:
            raise ConfigError(
                "EGNN: undirected pairs need symmetric messages; this network's have a direction."
            )
        h = self.embedding(h).to(x.dtype)  # the residual stream keeps full precision under autocast
        description_of_input: Tensor | None = None
        for block in self.blocks:
            difference = pairs.receivers(x) - pairs.senders(x)
            squared = difference.square().sum(-1, keepdim=True)
            # The small constant keeps the gradient of the square root finite for coinciding nodes.
            distance = (squared + 1e-8).sqrt()
            description = self.describe(squared, distance)
            if description_of_input is None:
                description_of_input = description
            e = torch.cat([description, description_of_input], -1)
            h, displacement = block(h, e, difference / (distance + self.config.distance_offset), pairs)
            x = x + displacement
        return self.embedding_out(h), x
