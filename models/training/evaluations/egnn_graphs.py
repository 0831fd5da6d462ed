"""Graph autoencoders by what they tell of held-out graphs, and by the statistics of the graphs they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.random import molecule_seed
from models.egnn_graphs.model import METHODS, GraphAutoencoder
from models.egnn_graphs.scoring import GraphScore, connected, encode, pair_values, sample, score
from models.training.data.graphs import KINDS, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant

FIT_GRAPHS = 1000
"""Training graphs of each kind that tell how far places spread."""

Adjacency = NDArray[np.uint8]


@torch.no_grad()
def finish(model: GraphAutoencoder, data: str) -> dict[str, Any]:
    """After training: how far the places of encoded training graphs spread, by which the prior measures them."""
    train = load(data, "train")
    for kind in range(len(KINDS)):
        rows = np.flatnonzero(train.kinds == kind)[:FIT_GRAPHS]
        places = torch.cat([encode(model, train.graphs[row], int(row))[0] for row in rows])
        model.prior.scale[kind] = places.square().mean().sqrt()
    return {"prior": {"graphs_of_each_kind": FIT_GRAPHS, "data": f"{data}/train"}}


def evaluate(
    model: GraphAutoencoder, card: Mapping[str, Any], options: Options, watch: Watch
) -> list[Metric]:
    """Reconstruction of test graphs (`test_items` of each kind; 0: all) and statistics of `samples` of each kind.

    The baseline is a graph of independent edges of the density of its kind.
    """
    options.only()
    test = load(card["training"]["data"], "test")
    metrics: list[Metric] = []
    for kind, name in enumerate(KINDS):
        rows = np.flatnonzero(test.kinds == kind)
        rows = rows[: options.test_items or len(rows)]
        graphs = [test.graphs[row] for row in rows]
        density = float(np.concatenate([pair_values(graph) for graph in graphs]).mean())
        for method in METHODS:
            found = []
            for done, (row, graph) in enumerate(zip(rows, graphs, strict=True), 1):
                found.append(score(model, graph, molecule_seed(options.seed, int(row)), 4, method=method))
                watch(f"{name}, {method}", done, len(rows))
            metrics += reconstruction(f"{name}_{method}", graphs, found, density)
        if "sample" in card["capabilities"]:  # the prior is trained
            metrics += samples(model, name, graphs, options, watch)
    return metrics


def reconstruction(
    name: str, graphs: Sequence[Adjacency], found: Sequence[GraphScore], density: float
) -> list[Metric]:
    """Cross-entropy of a graph and of a pair, share of wrong pairs, F1 over all graphs."""
    pairs = np.array([len(graph) * (len(graph) - 1) // 2 for graph in graphs])
    entropy = np.array([each.cross_entropy for each in found])
    bernoulli = np.array([independent_entropy(graph, density) for graph in graphs])
    wrong = np.array([each.wrong_pairs for each in found])
    real = np.array([int(pair_values(graph).sum()) for graph in graphs])
    told = np.array([int((each.probabilities > 0.5).sum()) for each in found])
    hits = (real + told - wrong) / 2
    return [
        mean_metric(f"cross_entropy_{name}", entropy, "nats") | {"baseline": significant(bernoulli.mean())},
        {
            "name": f"wrong_pairs_{name}", "unit": "share", "value": significant(wrong.sum() / pairs.sum()),
            "n": int(pairs.sum()), "baseline": significant(min(density, 1 - density)),
        },
        {
            "name": f"f1_{name}", "value": significant(2 * hits.sum() / (real.sum() + told.sum())),
            "n": len(graphs), "baseline": 0.0 if density < 0.5 else significant(2 * density / (1 + density)),
        },
    ]  # fmt: skip


def independent_entropy(graph: Adjacency, density: float) -> float:
    """Cross-entropy of a graph in nats when every pair is an edge with one probability."""
    edges = pair_values(graph)
    return float(-(edges * np.log(density) + (1 - edges) * np.log1p(-density)).sum())


def samples(
    model: GraphAutoencoder, name: str, real: Sequence[Adjacency], options: Options, watch: Watch
) -> list[Metric]:
    """Density, triangles and connectedness of drawn graphs, of real ones, and of independent edges."""
    drawn: list[Adjacency] = []
    for start in range(0, options.samples, 250):
        numbers = range(start, min(start + 250, options.samples))
        drawn += sample(model, name, None, [molecule_seed(options.seed, k) for k in numbers])
        watch(f"{name}, samples", len(drawn), options.samples)
    source = np.random.default_rng(options.seed)
    density = float(np.concatenate([pair_values(graph) for graph in real]).mean())
    independent = []
    for graph in real:
        upper = np.triu(source.random(graph.shape) < density, 1)
        independent.append((upper | upper.T).astype(np.uint8))
    out: list[Metric] = []
    for what, figure in (("density", graph_density), ("transitivity", transitivity)):
        values = np.array([figure(graph) for graph in drawn])
        out.append(
            mean_metric(f"{what}_{name}", values, "")
            | {"data": significant(np.mean([figure(graph) for graph in real]))}
            | {"baseline": significant(np.mean([figure(graph) for graph in independent]))}
        )
    out.append(
        share(f"connected_{name}", np.array([connected(graph) for graph in drawn]))
        | {"data": significant(np.mean([connected(graph) for graph in real]))}
        | {"baseline": significant(np.mean([connected(graph) for graph in independent]))}
    )
    return out


def graph_density(graph: Adjacency) -> float:
    """Share of pairs that are edges."""
    return float(pair_values(graph).mean())


def transitivity(graph: Adjacency) -> float:
    """Share of paths of two edges whose ends are joined, 0 where there are none."""
    a = graph.astype(np.int64)
    paths = a @ a
    closed = int((paths * a).sum())
    total = int(paths.sum() - np.trace(paths))
    return closed / total if total else 0.0
