"""A density of one number per node of a graph: monotone maps of every node, then convolution exponentials.

u_i = g_i(x_i; graph), z = exp(M_K) ... exp(M_1) u with z standard normal. A map M = diag(a) + (weights of the bonds)
+ (c d^T / n, through the whole molecule), its numbers given by a graph network: log p(x | graph) = log N(z) +
sum_k tr M_k + sum_i log g_i'(x_i), exact. In u the density is Gaussian, so conditionals are exact as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from zuko.transforms import MonotonicRQSTransform

from models.convexp.exponential import exponential
from models.convexp.graphs import NUMBERS, GraphNetwork, mean_of, sum_of
from models.core.errors import ConfigError

BOUND = 6.0
"""Splines act on standardized values within, and leave those beyond as they are."""


class NodeDensity(nn.Module):
    """log p(node values | graph), in nats with respect to the values' own unit (charges: e)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {"width", "layers", "maps", "bins", "noise", "elements"}
        if set(config) != known:
            raise ConfigError(f"convexp: the configuration has {sorted(config)}, but needs {sorted(known)}.")
        self.config = dict(config)
        width, self.maps, self.bins = int(config["width"]), int(config["maps"]), int(config["bins"])
        self.noise = float(config["noise"])
        self.network = GraphNetwork(width, int(config["layers"]))
        self.nodes = nn.Linear(width, 2 + 3 * self.bins - 1 + 3 * self.maps)
        self.bonds = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, self.maps))
        for last in (self.nodes, self.bonds[-1]):
            for parameter, spread in zip(last.parameters(), (0.01, 0.0), strict=True):
                nn.init.normal_(parameter, std=spread)
        statistics = config["elements"]
        self.means: Tensor
        self.scales: Tensor
        for name, k in (("means", 0), ("scales", 1)):
            values = [statistics[str(z)][k] if str(z) in statistics else float(k) for z in NUMBERS]
            self.register_buffer(name, torch.tensor(values), persistent=False)

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's sizes, the data's statistics of each element."""
        return {**recipe, **data.summary()}

    def given(self, batch: Any) -> Given:
        """Everything that the graphs of a batch say; then values can be scored and drawn."""
        graphs = len(batch.ptr) - 1
        dtype = self.nodes.weight.dtype
        atoms = batch.atoms.to(dtype)
        h = self.network(atoms, batch.edge_index, batch.edges, batch.batch, graphs)
        source, target = batch.edge_index
        weights = self.bonds(torch.cat([h[target], h[source]], 1)).tanh()
        return Given(self, batch, graphs, atoms, self.nodes(h), weights)

    def log_prob(self, batch: Any, x: Tensor) -> Tensor:
        """log p of node values `[n]`, `[graphs]` in nats. Raises NormTooLargeError (never truncates silently)."""
        return self.given(batch).log_prob(x)

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Negative log-likelihood in nats a node, of values blurred by normal noise of the width `noise`.

        Charges add up to zero exactly; without the blur their density would have no bound.
        """
        x = batch.charges + self.noise * torch.randn(batch.charges.shape, generator=generator)
        counts = torch.bincount(batch.batch).to(x.dtype)
        nll = -self.log_prob(batch, x) / counts
        return {"loss": nll}


class Given:
    """The density of the node values of given graphs."""

    def __init__(
        self, model: NodeDensity, batch: Any, graphs: int, atoms: Tensor, nodes: Tensor, weights: Tensor
    ) -> None:
        self.owner, self.graphs, self.edge_index, self.weights = (
            batch.batch,
            graphs,
            batch.edge_index,
            weights,
        )
        element = atoms[:, : len(NUMBERS)]
        bins, maps = model.bins, model.maps
        parts = [1, 1, bins, bins, bins - 1, maps, maps, maps]
        shift, stretch, widths, heights, slopes, a, c, d = torch.split(nodes, parts, 1)
        self.mean = (
            element @ model.means.to(atoms.dtype) + (element @ model.scales.to(atoms.dtype)) * shift[:, 0]
        )
        scale = (element @ model.scales.to(atoms.dtype)).clamp_min(model.noise)
        # between the blur's own width and some times the element's
        self.log_scale = scale.log() + math.log(8.0) * (stretch[:, 0] / math.log(8.0)).tanh()
        self.spline = MonotonicRQSTransform(widths, heights, slopes, bound=BOUND)
        self.a, self.c, self.d = 2 * a.tanh(), 2 * c.tanh(), 2 * d.tanh()

    def to_normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u and log g' of every node, `[n]` each."""
        y = (x - self.mean) * (-self.log_scale).exp()
        u, slope = self.spline.call_and_ladj(y)
        out: tuple[Tensor, Tensor] = (u, slope - self.log_scale)
        return out

    def to_values(self, u: Tensor) -> Tensor:
        """The inverse of `to_normal`."""
        values: Tensor = self.spline.inv(u) * self.log_scale.exp() + self.mean
        return values

    def product(self, k: int, u: Tensor) -> Tensor:
        """M_k u, `[n]`."""
        source, target = self.edge_index
        along = torch.zeros_like(u).index_add(0, target, self.weights[:, k] * u[source])
        whole = mean_of(self.d[:, k] * u, self.owner, self.graphs)[self.owner]
        return self.a[:, k] * u + along + self.c[:, k] * whole

    def norm(self, k: int) -> float:
        """A bound on the norm of M_k: sqrt(|M|_1 |M|_inf) of the bonds' part, and the other two parts' norms."""
        source, target = self.edge_index
        size = self.weights[:, k].detach().abs()
        zero = torch.zeros_like(self.a[:, k])
        rows, columns = zero.index_add(0, target, size).detach(), zero.index_add(0, source, size).detach()
        bonds = float((rows.max() * columns.max()).sqrt())
        # |c d^T / n| = |c| |d| / n
        squares = [mean_of(v[:, k].detach().square(), self.owner, self.graphs) for v in (self.c, self.d)]
        return (
            float(self.a[:, k].detach().abs().max()) + bonds + float((squares[0] * squares[1]).sqrt().max())
        )

    def trace(self) -> Tensor:
        """The trace of all maps, node by node: `[n]`."""
        counts = torch.bincount(self.owner, minlength=self.graphs).to(self.a.dtype)[self.owner]
        return (self.a + self.c * self.d / counts[:, None]).sum(1)

    def forward(self, u: Tensor) -> Tensor:
        """z = exp(M_K) ... exp(M_1) u."""
        for k in range(self.a.shape[1]):
            u = exponential(lambda v, k=k: self.product(k, v), u, self.norm(k))  # type: ignore[misc]
        return u

    def inverse(self, z: Tensor) -> Tensor:
        """u = exp(-M_1) ... exp(-M_K) z."""
        for k in reversed(range(self.a.shape[1])):
            z = exponential(lambda v, k=k: self.product(k, v), z, self.norm(k), sign=-1.0)  # type: ignore[misc]
        return z

    def contributions(self, x: Tensor) -> Tensor:
        """Terms `[n]` of the nodes that add up to log p."""
        u, slope = self.to_normal(x)
        z = self.forward(u)
        return slope + self.trace() - 0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p, `[graphs]`."""
        return sum_of(self.contributions(x), self.owner, self.graphs)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One set of values `[n]`."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return self.to_values(self.inverse(noise))
