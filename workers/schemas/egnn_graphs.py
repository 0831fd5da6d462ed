"""Requests to graph autoencoders: encode graphs, score their edges, draw new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

MOST_NODES = 100
FLOW_CALLS = 64
"""Network calls of the flow that draws a graph: 16 steps of Runge-Kutta of fourth order."""

Node = Annotated[int, Field(ge=0, lt=MOST_NODES)]
Texts = tuple[Literal["sdf", "xyz", "smi"], ...]

GRAPHS = Table(
    "graphs.csv",
    ("index", "n_nodes", "n_edges", "density", "graph_connected", "edges", "in_domain", "reasons"),
)
SCORES = Table(
    "scores.csv",
    (
        "index", "n_nodes", "n_edges", "cross_entropy", "standard_error", "f1", "wrong_pairs", "in_domain",
        "reasons",
    ),
)  # fmt: skip


class Graph(BaseModel):
    """An undirected graph: nodes 0 to n_nodes - 1, each edge once."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    n_nodes: int = Field(ge=2, le=MOST_NODES)
    edges: list[tuple[Node, Node]] = Field(max_length=MOST_NODES * (MOST_NODES - 1) // 2)

    @model_validator(mode="after")
    def _simple(self) -> Graph:
        seen: set[tuple[int, int]] = set()
        for i, j in self.edges:
            if i == j:
                raise ValueError(f"edge [{i}, {j}] joins a node to itself")
            if max(i, j) >= self.n_nodes:
                raise ValueError(f"edge [{i}, {j}] names a node that is not among the {self.n_nodes}")
            pair = (min(i, j), max(i, j))
            if pair in seen:
                raise ValueError(f"edge [{i}, {j}] is given twice")
            seen.add(pair)
        return self


class _GraphRequest(JobRequest):
    """What encode and score share."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (GRAPHS,)

    graphs: list[Graph] = Field(min_length=1, max_length=10_000)

    def item_count(self) -> int:
        return len(self.graphs)

    def evaluations_per_item(self) -> int:
        return 1


class EncodeRequest(_GraphRequest):
    """Place the nodes of graphs in space; distances tell the edges. The seed chooses among equally good places."""


class ScoreRequest(_GraphRequest):
    """How well graphs are told by the places of their nodes: the probability of every edge, before and after."""

    tables: ClassVar[tuple[Table, ...]] = (GRAPHS, SCORES)

    draws: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Noises that the encoder starts from; figures are means over them.",
    )
    method: Literal["egnn", "gnn"] = Field(
        default="egnn", description="The EGNN, or the plain network that it is compared with."
    )
    pairs: bool = Field(default=True, description="Say the probability of every pair, not only of the graph.")

    def evaluations_per_item(self) -> int:
        return self.draws


class SampleRequest(JobRequest):
    """Draw new graphs: node places from a flow that has learned those of encoded graphs, edges by distance."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (GRAPHS,)

    n_graphs: int = Field(default=16, ge=1, le=10_000)
    kind: Literal["erdos-renyi", "community"] = "community"
    n_nodes: int | None = Field(
        default=None, ge=2, le=MOST_NODES, description="Nodes of each graph; by default as in the data."
    )

    def item_count(self) -> int:
        return self.n_graphs

    def evaluations_per_item(self) -> int:
        return FLOW_CALLS

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        kinds = list(card.config.get("kinds", {}))
        if self.kind not in kinds:
            raise Validation(
                f"model {card.id} knows graphs of the kinds {', '.join(kinds)}",
                errors=[{"pointer": "/kind", "detail": f"choose from {', '.join(kinds)}"}],
            )


CAPABILITIES: dict[str, type[JobRequest]] = {
    "encode": EncodeRequest,
    "score": ScoreRequest,
    "sample": SampleRequest,
}
