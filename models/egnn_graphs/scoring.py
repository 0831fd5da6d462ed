"""How well an autoencoder tells a graph: probabilities of its pairs, cross-entropy, F1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from models.core.random import generator
from models.egnn.pairs import UndirectedPairs
from models.egnn_graphs.model import GraphAutoencoder


@dataclass(frozen=True)
class GraphScore:
    """Means over the draws. cross_entropy: nats of the whole graph, its pairs summed, with the standard error of the
    mean over draws (infinite for one draw). probabilities: of the pairs i < j, row by row. wrong_pairs: those on the
    wrong side of one half. f1: of the edges (1 for a graph without edges that is told right).
    """

    cross_entropy: float
    standard_error: float
    probabilities: NDArray[np.float64]
    wrong_pairs: int
    f1: float


def pair_values(adjacency: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The pairs i < j of an adjacency matrix, row by row."""
    i, j = np.triu_indices(len(adjacency), 1)
    values: NDArray[np.float32] = adjacency[i, j].astype(np.float32)
    return values


@torch.inference_mode()
def encode(
    model: GraphAutoencoder, adjacency: NDArray[np.uint8], seed: int, draws: int = 1, *, method: str = "egnn"
) -> torch.Tensor:
    """Node positions `[draws, n, dimensions]` of one graph, each from noise of its own."""
    n = len(adjacency)
    pairs = UndirectedPairs(n, device=model.device)
    noise = model.noise([generator(seed, f"graph {k}") for k in range(draws)], n)
    edges = torch.from_numpy(pair_values(adjacency)).to(model.device, model.dtype)[None, :, None]
    return model.encode(edges.expand(draws, -1, 1), noise, pairs, method=method)


@torch.inference_mode()
def score(
    model: GraphAutoencoder, adjacency: NDArray[np.uint8], seed: int, draws: int = 8, *, method: str = "egnn"
) -> GraphScore:
    """Encode a graph and decode it again, `draws` times."""
    z = encode(model, adjacency, seed, draws, method=method)
    logits = model.decode(z, UndirectedPairs(len(adjacency), device=model.device), method=method).double()
    wanted = torch.from_numpy(pair_values(adjacency)).to(logits.device).double().expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)
    probabilities = logits.sigmoid().mean(0).cpu().numpy()
    told, real = probabilities > 0.5, wanted[0].cpu().numpy() > 0.5
    error = float(entropy.std()) / math.sqrt(draws) if draws > 1 else math.inf
    return GraphScore(float(entropy.mean()), error, probabilities, int((told != real).sum()), f1(told, real))


def f1(told: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN), and 1 where there is nothing to tell and nothing told."""
    hits, others = int((told & real).sum()), int((told != real).sum())
    return 1.0 if hits + others == 0 else 2 * hits / (2 * hits + others)


@torch.inference_mode()
def sample(
    model: GraphAutoencoder, kind: str, n_nodes: int | None, seeds: Sequence[int],
    *, watch: Callable[[], None] = lambda: None,
) -> list[NDArray[np.uint8]]:  # fmt: skip
    """New graphs as adjacency matrices: places from the prior, every edge drawn with its own probability.

    Graph k depends on its own seed only, up to rounding. `watch` is called before every network call and may raise.
    Raises ConfigError for an unknown kind.
    """
    model.prior.kind(kind)
    sources = [generator(seed, "graph") for seed in seeds]
    sizes = [model.prior.size(kind, source) if n_nodes is None else n_nodes for source in sources]
    out: dict[int, NDArray[np.uint8]] = {}
    for n in sorted(set(sizes)):
        rows = [k for k, size in enumerate(sizes) if size == n]
        z = model.prior.draw(kind, n, [sources[k] for k in rows], watch=watch)
        told = model.decode(z, UndirectedPairs(n, device=model.device)).sigmoid().double().cpu()
        i, j = np.triu_indices(n, 1)
        for k, probability in zip(rows, told, strict=True):
            drawn = torch.rand(probability.shape, generator=sources[k], dtype=torch.float64) < probability
            adjacency = np.zeros((n, n), dtype=np.uint8)
            adjacency[i, j] = drawn.numpy()
            out[k] = adjacency | adjacency.T
    return [out[k] for k in range(len(seeds))]


def connected(adjacency: NDArray[np.uint8]) -> bool:
    """Whether a graph is in one piece."""
    reached = np.zeros(len(adjacency), dtype=bool)
    reached[0] = True
    for _ in range(len(adjacency)):
        reached |= adjacency[reached].any(0)
    return bool(reached.all())


def adjacency_of(n_nodes: int, edges: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """The adjacency matrix of an edge list."""
    out = np.zeros((n_nodes, n_nodes), dtype=np.uint8)
    for i, j in edges:
        out[i, j] = out[j, i] = 1
    return out
