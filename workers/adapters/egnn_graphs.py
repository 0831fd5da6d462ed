"""Graph autoencoders: encode, score and sample graphs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.core.random import molecule_seed
from models.egnn_graphs.model import GraphAutoencoder
from models.egnn_graphs.scoring import GraphScore, adjacency_of, connected, encode, sample, score
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.cards import Card
from workers.schemas.base import JobRequest
from workers.schemas.egnn_graphs import EncodeRequest, SampleRequest, ScoreRequest

Adjacency = NDArray[np.uint8]

TOGETHER = 32
"""Graphs that are drawn at once, those of one size in the same network calls."""


class Adapter(FamilyAdapter):
    """One graph autoencoder on one device."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights."""
        _, model = load_weights(card, device)
        self.model = cast("GraphAutoencoder", model)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """The graphs of these items as adjacency matrices; none to sample."""
        if isinstance(request, EncodeRequest | ScoreRequest):
            graphs = [request.graphs[item.index] for item in items]
            content = [adjacency_of(graph.n_nodes, graph.edges) for graph in graphs]
            return Work(capability, request, tuple(items), content)
        return Work(capability, request, tuple(items))

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Samples together, given graphs one after the other: each graph has its own seed."""
        request = work.request
        seeds = [molecule_seed(item.seed, item.index) for item in work.items]
        if isinstance(request, SampleRequest):
            yield from self._sample(work, request, seeds, progress, cancelled)
            return
        for done, (item, seed) in enumerate(zip(work.items, seeds, strict=True), 1):
            if cancelled():
                return
            value: Any
            if isinstance(request, ScoreRequest):
                graph = work.content[done - 1]
                value = (graph, score(self.model, graph, seed, request.draws, method=request.method))
            else:
                graph = work.content[done - 1]
                value = (graph, encode(self.model, graph, seed)[0].double().cpu().numpy())
            yield Outcome(item, request, work.capability, value)
            progress(StepProgress(done, len(work.items)))

    def _sample(
        self, work: Work, request: SampleRequest, seeds: list[int], progress: Progress, cancelled: Cancelled
    ) -> Iterator[Outcome]:
        def watch() -> None:
            if cancelled():
                raise InterruptedError("sampling was cancelled")

        for start in range(0, len(seeds), TOGETHER):
            part = seeds[start : start + TOGETHER]
            try:
                drawn = sample(self.model, request.kind, request.n_nodes, part, watch=watch)
            except InterruptedError:
                return
            for item, graph in zip(work.items[start : start + TOGETHER], drawn, strict=True):
                yield Outcome(item, request, work.capability, (graph, None))
            progress(StepProgress(start + len(drawn), len(seeds)))

    def encode(self, outcome: Outcome) -> Row:
        """The graph, and what was asked of it."""
        graph, found = outcome.value
        data = self._described(graph) | {"seed": outcome.item.seed}
        if isinstance(outcome.request, ScoreRequest):
            data |= scored(graph, found, outcome.request)
        elif isinstance(outcome.request, EncodeRequest):
            data["positions"] = found.tolist()
        return Row(outcome.item.index, data)

    def _described(self, graph: Adjacency) -> dict[str, Any]:
        n = len(graph)
        edges = np.argwhere(np.triu(graph)).tolist()
        low, high = min(self.model.sizes), max(self.model.sizes)
        unlike = f"unlike the training data: {n} nodes, where they have {low} to {high}"
        reasons = [] if low <= n <= high else [{"code": "outside-size", "message": unlike, "atoms": []}]
        return {
            "smiles": None, "valid": True, "passed": True, "n_nodes": n, "n_edges": len(edges), "edges": edges,
            "density": 2 * len(edges) / (n * (n - 1)), "graph_connected": connected(graph),
            "in_domain": not reasons, "reasons": reasons,
        }  # fmt: skip


def scored(graph: Adjacency, found: GraphScore, request: ScoreRequest) -> dict[str, Any]:
    """The columns of a score."""
    i, j = np.triu_indices(len(graph), 1)
    data: dict[str, Any] = {
        "method": request.method,
        "draws": request.draws,
        "cross_entropy": found.cross_entropy,
        "standard_error": found.standard_error if math.isfinite(found.standard_error) else None,
        "f1": found.f1,
        "wrong_pairs": found.wrong_pairs,
    }
    if request.pairs:
        data["pairs"] = [
            {"nodes": [int(a), int(b)], "edge": bool(graph[a, b]), "probability": float(p)}
            for a, b, p in zip(i, j, found.probabilities, strict=True)
        ]
    return data
