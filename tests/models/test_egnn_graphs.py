"""Graphs: the prior from which new ones are drawn, and what its training touches."""

from __future__ import annotations

import json
from typing import cast

import numpy as np
import pytest
import torch

from models.core.centered import centered_normal
from models.core.errors import ConfigError
from models.core.random import generator, molecule_seed
from models.egnn.pairs import UndirectedPairs
from models.egnn_graphs.model import METHODS, GraphAutoencoder
from models.egnn_graphs.scoring import connected, pair_values, sample
from models.training.data.graphs import load
from models.training.evaluations.egnn_graphs import graph_density, transitivity
from models.weights import load_model
from models.weights.files import find_card

SMALL = {"width": 16, "message_width": 16, "layers": 2, "symmetric": True, "normalize": True, "divisor": 10.0}


@pytest.fixture
def small() -> GraphAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        recipe = {"dimensions": 4, "network": SMALL, "plain": SMALL, "prior": SMALL}
        model = GraphAutoencoder(GraphAutoencoder.config_for(recipe, load("graphs", "valid")))
        for parameter in model.parameters():  # fields that move, though nothing was trained
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("method", METHODS)
def test_relabeled_graphs_are_encoded_alike_and_turned_noise_tells_the_same_edges(
    small: GraphAutoencoder, method: str
) -> None:
    small = small.double()
    data = load("graphs", "valid")
    graph = data.graphs[int(np.flatnonzero(data.sizes == 12)[0])]
    pairs = UndirectedPairs(12)
    noise = torch.randn(1, 12, 4, dtype=torch.float64, generator=generator(4))

    def encoded(adjacency: np.ndarray, noise: torch.Tensor) -> torch.Tensor:
        edges = torch.from_numpy(pair_values(adjacency)).double()[None, :, None]
        return small.encode(edges, noise, pairs, method=method)

    z = encoded(graph, noise)
    order = torch.randperm(12, generator=generator(5))
    relabeled = encoded(graph[np.ix_(order, order)], noise[:, order])
    torch.testing.assert_close(relabeled, z[:, order], rtol=1e-10, atol=1e-10)
    if method == "egnn":  # the plain network knows no directions
        turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator(6)))
        turned = encoded(graph, noise @ turn + 3.0)
        torch.testing.assert_close(turned, z @ turn, rtol=1e-10, atol=1e-10)
        told = [small.decode(each, pairs, method=method) for each in (z, turned)]
        torch.testing.assert_close(told[0], told[1], rtol=1e-10, atol=1e-10)


def test_a_drawn_graph_depends_on_its_own_seed_only(small: GraphAutoencoder) -> None:
    small = small.double()
    seeds = [molecule_seed(5, k) for k in range(12)]
    together = sample(small, "community", None, seeds)
    assert len({len(graph) for graph in together}) > 1
    for seed, graph in zip(seeds, together, strict=True):
        (alone,) = sample(small, "community", None, [seed])
        np.testing.assert_array_equal(alone, graph)
        np.testing.assert_array_equal(graph, graph.T)
        assert not graph.diagonal().any()


def test_drawn_places_turn_with_their_noise(small: GraphAutoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    small = small.double()
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator(1)))
    plain = small.prior.draw("erdos-renyi", 6, [generator(2)])
    order = torch.randperm(6, generator=generator(3))
    monkeypatch.setattr(
        "models.egnn_graphs.prior.centered_normal",
        lambda *given, **named: (centered_normal(*given, **named).double() @ turn)[:, order],
    )
    moved = small.prior.draw("erdos-renyi", 6, [generator(2)])
    torch.testing.assert_close(moved, (plain @ turn)[:, order], rtol=1e-10, atol=1e-10)
    assert (plain - moved).abs().max() > 0.1


def test_the_prior_is_trained_on_what_is_encoded_and_leaves_the_encoder_alone(
    small: GraphAutoencoder,
) -> None:
    data = load("graphs", "valid")
    same_size = np.flatnonzero(data.sizes == 14).tolist()
    rows = same_size[:20] + same_size[-20:]
    assert len(set(data.kinds[rows])) == 2
    batch = data.batch(rows)
    losses = small.loss(batch, options={"part": "prior"}, generator=generator(7))["loss"]
    assert losses.shape == (40,) and torch.isfinite(losses).all()
    losses.sum().backward()
    touched = {name for name, parameter in small.named_parameters() if parameter.grad is not None}
    assert touched and all(name.startswith("prior.fields.") for name in touched)
    assert {name.split(".")[2] for name in touched} == {"0", "1"}
    with pytest.raises(ConfigError, match="autoencoder, prior"):
        small.loss(batch, options={"part": "decoder"}, generator=generator(7))


def test_sizes_are_drawn_as_in_the_data(small: GraphAutoencoder) -> None:
    source = generator(11)
    data = load("graphs", "valid")
    for kind, name in enumerate(small.prior.kinds):
        drawn = np.array([small.prior.size(name, source) for _ in range(2000)])
        real = data.sizes[data.kinds == kind]
        assert drawn.min() == real.min() and drawn.max() == real.max()
        # means of 2,000 and 500 sizes: five standard errors, by chance once in a million
        error = real.std() * np.sqrt(1 / 2000 + 1 / 500)
        assert abs(drawn.mean() - real.mean()) < 5 * error
    with pytest.raises(ConfigError, match="erdos-renyi, community"):
        small.prior.kind("tree")


def test_the_shipped_models_graphs_are_like_the_data() -> None:
    path = find_card("egnn-graphs")
    card = json.loads(path.read_text(encoding="utf-8"))
    model = cast("GraphAutoencoder", load_model(card, path.parent / card["weights"]["file"]))
    test = load("graphs", "test")
    for kind, name in enumerate(model.prior.kinds):
        drawn = sample(model, name, None, [molecule_seed(1, k) for k in range(200)])
        real = [test.graphs[row] for row in np.flatnonzero(test.kinds == kind)[:200]]
        for figure in (graph_density, transitivity, connected):
            ours, theirs = (float(np.mean([figure(graph) for graph in some])) for some in (drawn, real))
            assert abs(ours - theirs) < 0.12, (name, figure, ours, theirs)


def test_drawing_can_be_ended_before_any_network_call(small: GraphAutoencoder) -> None:
    calls = 0

    def watch() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample(small, "community", 12, [1, 2], watch=watch)
    assert calls == 5
