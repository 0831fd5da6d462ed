"""The predictor: an EGNN with velocities, and beside it the plain network and the straight line it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.core.placed import Placed
from models.egnn.config import EGNNConfig
from models.egnn.layers import Interaction, silu
from models.egnn.network import EGNN
from models.egnn.pairs import DensePairs, Pairs

METHODS = ("egnn", "gnn", "linear")


class PlainGNN(nn.Module):
    """Message passing on [x, v] of each particle and q_i q_j of each pair, without any symmetry."""

    def __init__(self, config: EGNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(6, config.width)
        self.layers = nn.ModuleList(Interaction(config, 1) for _ in range(config.layers))
        self.hidden = nn.Linear(config.width, config.width)
        self.last = nn.Linear(config.width, 3)

    def forward(self, x: Tensor, v: Tensor, charges: Tensor, pairs: Pairs) -> Tensor:
        """Positions `[..., n, 3]` after the horizon."""
        h = self.embedding(torch.cat([x, v], -1))
        edges = pairs.receivers(charges) * pairs.senders(charges)
        for layer in self.layers:
            h, _, _ = layer(h, edges, pairs)
        out: Tensor = self.last(silu(self.hidden(h)))
        return out


class ParticleEGNN(Placed):
    """Predicts where charged particles are `horizon` steps later; turned, mirrored, moved or relabeled particles
    give positions turned, mirrored, moved or relabeled alike.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {"network", "plain", "linear_time", "horizon", "particles", "speed", "spread"}
        if set(config) != known:
            raise ConfigError(f"n-body: the configuration has {sorted(config)}, but needs {sorted(known)}.")
        self.config = dict(config)
        self.horizon = int(config["horizon"])
        self.linear_time = float(config["linear_time"])
        network = EGNNConfig.from_dict(
            {"inputs": 1, "outputs": 1, "velocity": True, "edge_inputs": 1, **config["network"]}
        )
        self.network = EGNN(network)
        self.plain = PlainGNN(EGNNConfig.from_dict({"inputs": 6, "outputs": 3, **config["plain"]}))

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's networks and what the data say about the experiment."""
        return {**recipe, **data.experiment()}

    def forward(
        self, x: Tensor, v: Tensor, charges: Tensor, pairs: Pairs | None = None, *, method: str = "egnn"
    ) -> Tensor:
        """Positions and velocities `[b, n, 3]` and charges `[b, n, 1]` (or `[nodes, ...]` with sparse pairs) to
        positions after the horizon. Raises ConfigError for an unknown method.
        """
        if method == "linear":
            return x + self.linear_time * v
        if pairs is None:
            pairs = DensePairs(x.shape[-2], device=x.device)
        if method == "gnn":
            plain: Tensor = self.plain(x, v, charges, pairs)
            return plain
        if method != "egnn":
            raise ConfigError(f"n-body: method is {method!r}; choose one of {', '.join(METHODS)}.")
        speed = v.square().sum(-1, keepdim=True).add(1e-12).sqrt()
        edges = pairs.receivers(charges) * pairs.senders(charges)
        _, moved = self.network(speed, x, pairs, edges=edges, velocity=v)
        out: Tensor = moved
        return out

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Mean squared errors `[b]` of both networks, which are trained side by side and share nothing.

        batch: torch-geometric, b systems with `pos`, `vel`, `charge` and `target`.
        """
        b = batch.num_graphs
        x, v, target = (values.view(b, -1, 3) for values in (batch.pos, batch.vel, batch.target))
        charges = batch.charge.view(b, -1, 1)
        errors = {
            method: (self(x, v, charges, method=method) - target).square().mean((-1, -2))
            for method in ("egnn", "gnn")
        }
        return {"loss": errors["egnn"] + errors["gnn"], **errors}
