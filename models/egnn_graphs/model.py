"""The autoencoder: graph to node positions by an EGNN, positions to edges by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.core.placed import Placed
from models.core.random import stacked_normal
from models.egnn.config import EGNNConfig
from models.egnn.layers import Interaction
from models.egnn.network import EGNN
from models.egnn.pairs import Pairs, UndirectedPairs
from models.egnn_graphs.prior import LatentPrior

METHODS = ("egnn", "gnn")
PARTS = ("autoencoder", "prior")


class PlainEncoder(nn.Module):
    """Message passing without positions: the noise that breaks the symmetry is a node feature."""

    def __init__(self, config: EGNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Linear(config.inputs, config.width)
        self.layers = nn.ModuleList(Interaction(config, 1) for _ in range(config.layers))
        self.last = nn.Linear(config.width, config.outputs)

    def forward(self, noise: Tensor, edges: Tensor, pairs: Pairs) -> Tensor:
        """Noise `[b, n, dimensions]` and edges to latent features of the same shape."""
        h = self.embedding(noise)
        for layer in self.layers:
            h, _, _ = layer(h, edges, pairs)
        out: Tensor = self.last(h)
        return out


class DistanceDecoder(nn.Module):
    """p(edge) = sigmoid(b - w |z_i - z_j|^2) with w > 0 (equation 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(1.0))
        self.log_slope = nn.Parameter(torch.tensor(-1.0))

    def forward(self, z: Tensor, pairs: Pairs) -> Tensor:
        """Logits of the edges, one a pair."""
        squared = (pairs.receivers(z) - pairs.senders(z)).square().sum(-1)
        return self.offset - self.log_slope.exp() * squared


class GraphAutoencoder(Placed):
    """Encodes an undirected graph without node features; relabeled nodes give relabeled positions.

    Nodes with the same surroundings would get the same position, so encoding starts from noise: the positions
    depend on the noise, and are as random in direction as it is.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {"dimensions", "network", "plain", "prior", "kinds", "sizes", "density"}
        if set(config) != known:
            raise ConfigError(f"graphs: the configuration has {sorted(config)}, but needs {sorted(known)}.")
        self.config = dict(config)
        self.dimensions = int(config["dimensions"])
        self.network = EGNN(
            EGNNConfig.from_dict({"inputs": 1, "outputs": 1, "edge_inputs": 1, **config["network"]})
        )
        plain = {"inputs": self.dimensions, "outputs": self.dimensions, **config["plain"]}
        self.plain = PlainEncoder(EGNNConfig.from_dict(plain))
        self.decoders = nn.ModuleDict({method: DistanceDecoder() for method in METHODS})
        self.prior = LatentPrior(config["kinds"], self.dimensions, config["prior"])
        self.sizes = {int(n): int(count) for n, count in config["sizes"].items()}

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's networks, the data's kinds, sizes and density."""
        return {**recipe, **data.summary()}

    def encode(self, edges: Tensor, noise: Tensor, pairs: Pairs, *, method: str = "egnn") -> Tensor:
        """Edges `[b, pairs, 1]` (0 or 1, in the order of `pairs`) and noise `[b, n, dimensions]` to centered
        node positions of the noise's shape. Raises ConfigError for an unknown method.
        """
        if method == "gnn":
            plain: Tensor = self.plain(noise, edges, pairs)
            return plain
        if method != "egnn":
            raise ConfigError(f"graphs: method is {method!r}; choose one of {', '.join(METHODS)}.")
        _, z = self.network(torch.ones_like(noise[..., :1]), noise, pairs, edges=edges)
        return remove_mean(z) if z.dim() == 3 else z

    def decode(self, z: Tensor, pairs: Pairs, *, method: str = "egnn") -> Tensor:
        """Logits of the edges, `[b, pairs]`."""
        logits: Tensor = self.decoders[method](z, pairs)
        return logits

    def noise(self, sources: Sequence[torch.Generator], n_nodes: int) -> Tensor:
        """Starting positions of graphs of one size, each from its own generator."""
        return stacked_normal(sources, (n_nodes, self.dimensions)).to(self.device, self.dtype)

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Of the `part` that `options` name: cross-entropy in nats a pair `[b]` of both autoencoders, trained side by
        side, sharing nothing; or the prior's flow-matching loss on what the EGNN encodes, which it leaves as it is.

        batch: torch-geometric, b graphs of one size with `adjacency` `[b, pairs]` and `kind` `[b]`.
        """
        part = options.get("part", "autoencoder")
        if part not in PARTS or set(options) - {"part"}:
            raise ConfigError(
                f"graphs: the loss is {dict(options)}; it takes part, one of {', '.join(PARTS)}."
            )
        b = batch.num_graphs
        n = batch.num_nodes // b
        pairs = UndirectedPairs(n, device=self.device)
        wanted = batch.adjacency
        noise = torch.randn(b, n, self.dimensions, generator=generator, device=generator.device)
        noise = noise.to(self.device)
        if part == "prior":
            with torch.no_grad():
                z = self.encode(wanted[..., None], noise, pairs).to(noise.dtype)
            return {"loss": self.prior.loss(z, batch.kind, generator)}
        out = {}
        for method in METHODS:
            z = self.encode(wanted[..., None], noise, pairs, method=method)
            logits = self.decode(z.to(noise.dtype), pairs, method=method)
            out[method] = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)
        return {"loss": sum(out.values(), start=torch.zeros_like(wanted[:, 0])), **out}
