"""New places for nodes, from which the decoder makes new graphs: a continuous flow from noise for each kind of graph.

The encoder's places have no preferred direction and no order, and what tells one graph from another is in their
distances alone. So the flow's field is an EGNN, learned by flow matching (arXiv 2210.02747) on encoded training
graphs, with noise that is aligned to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.core.centered import centered_normal
from models.core.errors import ConfigError
from models.core.ode import Solver
from models.egnn.config import EGNNConfig
from models.enf.field import PreconditionedField
from models.enf.ode import carry
from models.enf_particles.loss import LossOptions, matching_loss

TIME_PAIRS = 8
SOLVER = Solver("rk4", steps=16, refine=0.1)
"""How places are drawn: smaller steps near the graphs, where the field is steep."""

MATCHING = LossOptions(rounds=1, center=-0.5, spread=1.6)


class LatentPrior(nn.Module):
    """Draws node places of new graphs. kinds: name to {"groups": G, "sizes": histogram of group sizes}.

    A graph has as many nodes as its G groups together. `scale` is the standard deviation of a kind's coordinates.
    """

    scale: Tensor

    def __init__(
        self, kinds: Mapping[str, Mapping[str, Any]], dimensions: int, network: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.kinds = {name: dict(values) for name, values in kinds.items()}
        self.dimensions = dimensions
        config = EGNNConfig.from_dict({"inputs": 2 * TIME_PAIRS, "outputs": 1, **network})
        self.fields = nn.ModuleList(PreconditionedField(config, 0, time_pairs=TIME_PAIRS) for _ in kinds)
        self.register_buffer("scale", torch.ones(len(kinds)))

    def kind(self, name: str) -> int:
        """Number of a kind. Raises ConfigError for an unknown one."""
        if name not in self.kinds:
            raise ConfigError(f"graphs: kind is {name!r}; this model knows {', '.join(self.kinds)}.")
        return list(self.kinds).index(name)

    def size(self, name: str, source: torch.Generator) -> int:
        """Nodes of a graph, as in the data."""
        groups = int(self.kinds[name]["groups"])
        histogram = {int(n): count for n, count in self.kinds[name]["sizes"].items()}
        weights = torch.tensor(list(histogram.values()), dtype=torch.float64)
        chosen = torch.multinomial(weights, groups, replacement=True, generator=source)
        return sum(list(histogram)[k] for k in chosen.tolist())

    def loss(self, z: Tensor, kinds: Tensor, generator: torch.Generator) -> Tensor:
        """Flow-matching loss `[b]` of encoded graphs `[b, n, dimensions]` of kinds `[b]`."""
        losses = z.new_zeros(len(z))
        for kind, field in enumerate(self.fields):
            rows = (kinds == kind).nonzero().squeeze(1)
            if len(rows):
                found = matching_loss(field, z[rows] / self.scale[kind], MATCHING, generator)  # type: ignore[arg-type]
                losses = losses.index_put((rows,), found)
        return losses

    @torch.no_grad()
    def draw(
        self, name: str, n_nodes: int, sources: Sequence[torch.Generator],
        *, watch: Callable[[], None] = lambda: None,
    ) -> Tensor:  # fmt: skip
        """Centered node places `[b, n, dimensions]` of new graphs of one size; graph k depends on its own generator
        only, up to rounding. `watch` is called before every network call and may raise.
        """
        kind = self.kind(name)
        noise = centered_normal(sources, n_nodes, dimensions=self.dimensions).to(self.scale)
        none = noise.new_zeros(*noise.shape[:2], 0)
        end = carry(self.fields[kind], noise, none, 1.0, 0.0, SOLVER, watch=watch)
        return end.x * self.scale[kind]
