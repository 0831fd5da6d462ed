"""The symmetries of the EGNN, in every variant, and the agreement of its three kinds of pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jvp
from torch_geometric.data import Batch, Data

from models.core.errors import ConfigError
from models.egnn.config import EGNNConfig
from models.egnn.layers import PairInput
from models.egnn.linearized import linearized
from models.egnn.network import EGNN
from models.egnn.pairs import DensePairs, Pairs, SparsePairs, UndirectedPairs

Bucket = tuple[Tensor, Tensor]
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture
def bucket(source: torch.Generator) -> Bucket:
    """Features and positions of four molecules of seven atoms."""
    h = torch.randn(4, 7, 5, generator=source, dtype=torch.float64)
    x = 1.5 * torch.randn(4, 7, 3, generator=source, dtype=torch.float64)
    return h, x


def full_edges(n: int) -> Tensor:
    """All ordered pairs of distinct nodes, as torch-geometric's edge_index."""
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    return torch.stack([j[i != j], i[i != j]])


def run_sparse(network: EGNN, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The network on a torch-geometric Batch of the molecules."""
    batch = Batch.from_data_list(
        [Data(h=a, pos=b, edge_index=full_edges(len(a)), num_nodes=len(a)) for a, b in zip(h, x, strict=True)]
    )
    out_h, out_x = network(batch.h, batch.pos, SparsePairs(batch.edge_index, batch.num_nodes))
    return out_h.view(*h.shape[:2], -1), out_x.view_as(x)


def pairs_of(network: EGNN) -> list[Callable[[], Pairs]]:
    """The kinds of dense pairs that a network may use for seven nodes."""
    kinds: list[Callable[[], Pairs]] = [lambda: DensePairs(7)]
    if network.config.symmetric:
        kinds.append(lambda: UndirectedPairs(7))
    return kinds


def test_the_network_moves_its_points_enough_for_the_laws_to_mean_something(
    network: EGNN, bucket: Bucket
) -> None:
    h, x = bucket
    with torch.no_grad():
        _, moved = network(h, x)
    assert 0.05 < float((moved - x).norm() / x.norm()) < 5


@pytest.mark.parametrize("reflect", [False, True], ids=["rotation", "reflection"])
def test_turning_the_input_turns_the_output(
    network: EGNN, bucket: Bucket, rotation: Callable[..., Tensor], source: torch.Generator, reflect: bool
) -> None:
    h, x = bucket
    turn = rotation(source, reflect=reflect)
    for pairs in pairs_of(network):
        out_h, out_x = network(h, x, pairs())
        turned_h, turned_x = network(h, x @ turn.T, pairs())
        torch.testing.assert_close(turned_h, out_h, **CLOSE)
        torch.testing.assert_close(turned_x, out_x @ turn.T, **CLOSE)


def test_moving_the_input_moves_the_output(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    shift = torch.tensor([3.0, -2.0, 7.0], dtype=x.dtype)
    out_h, out_x = network(h, x)
    moved_h, moved_x = network(h, x + shift)
    torch.testing.assert_close(moved_h, out_h, **CLOSE)
    torch.testing.assert_close(moved_x, out_x + shift, **CLOSE)


def test_relabeling_atoms_relabels_the_output(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    order = torch.tensor([4, 0, 6, 1, 5, 3, 2])
    out_h, out_x = network(h, x)
    new_h, new_x = network(h[:, order], x[:, order])
    torch.testing.assert_close(new_h, out_h[:, order], **CLOSE)
    torch.testing.assert_close(new_x, out_x[:, order], **CLOSE)


def test_dense_undirected_and_sparse_pairs_agree(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    expected_h, expected_x = run_sparse(network, h, x)
    for pairs in pairs_of(network):
        out_h, out_x = network(h, x, pairs())
        torch.testing.assert_close(out_h, expected_h, **CLOSE)
        torch.testing.assert_close(out_x, expected_x, **CLOSE)


def test_a_padded_batch_equals_the_molecules_without_padding(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    sizes = [7, 5, 2, 6]
    mask = torch.zeros(4, 7, 1, dtype=torch.float64)
    for row, n in zip(mask, sizes, strict=True):
        row[:n] = 1
    out_h, out_x = network(h * mask, x * mask, DensePairs(7, mask=mask))
    for k, n in enumerate(sizes):
        alone_h, alone_x = network(h[k : k + 1, :n], x[k : k + 1, :n])
        torch.testing.assert_close(out_h[k : k + 1, :n], alone_h, **CLOSE)
        torch.testing.assert_close(out_x[k : k + 1, :n], alone_x, **CLOSE)


def test_padding_nodes_do_not_move(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    mask = torch.ones(4, 7, 1, dtype=torch.float64)
    mask[:, 4:] = 0
    _, moved = network(h, x, DensePairs(7, mask=mask))
    assert torch.equal(moved[:, 4:], x[:, 4:])


def test_a_molecule_in_a_batch_equals_the_molecule_alone(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    out_h, out_x = network(h, x)
    for k in range(len(h)):
        alone_h, alone_x = network(h[k : k + 1], x[k : k + 1])
        torch.testing.assert_close(out_h[k : k + 1], alone_h, **CLOSE)
        torch.testing.assert_close(out_x[k : k + 1], alone_x, **CLOSE)


def test_sparse_batches_of_different_sizes_keep_molecules_apart(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    sizes = [7, 3, 5]
    graphs = [
        Data(h=h[k, :n], pos=x[k, :n], edge_index=full_edges(n), num_nodes=n) for k, n in enumerate(sizes)
    ]
    batch = Batch.from_data_list(graphs)
    out_h, out_x = network(batch.h, batch.pos, SparsePairs(batch.edge_index, batch.num_nodes))
    for k, n in enumerate(sizes):
        rows = slice(int(batch.ptr[k]), int(batch.ptr[k + 1]))
        alone_h, alone_x = network(h[k : k + 1, :n], x[k : k + 1, :n])
        torch.testing.assert_close(out_h[rows], alone_h[0], **CLOSE)
        torch.testing.assert_close(out_x[rows], alone_x[0], **CLOSE)


def test_the_gradient_reaches_every_parameter(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    out_h, out_x = network(h, x)
    (out_h.square().sum() + (out_x - x).square().sum()).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_split_first_layer_equals_the_layer_on_concatenated_inputs(
    bucket: Bucket, source: torch.Generator, symmetric: bool
) -> None:
    h, _ = bucket
    e = torch.randn(4, 7, 7, 2, generator=source, dtype=torch.float64)
    layer = PairInput(5, 2, 8, symmetric=symmetric).double()
    sender = layer.receiver if layer.sender is None else layer.sender
    whole = torch.cat([layer.receiver.weight, sender.weight, layer.edge.weight], 1)
    receivers = h[:, :, None].expand(-1, -1, 7, -1)
    senders = h[:, None].expand(-1, 7, -1, -1)
    bias = layer.receiver.bias * (2 if symmetric else 1)
    expected = torch.nn.functional.linear(torch.cat([receivers, senders, e], -1), whole, bias)
    torch.testing.assert_close(layer(h, e, DensePairs(7)), expected, **CLOSE)


def test_a_whole_layer_can_be_loaded_into_the_split_one(source: torch.Generator, bucket: Bucket) -> None:
    h, _ = bucket
    e = torch.randn(4, 7, 7, 2, generator=source, dtype=torch.float64)
    whole = torch.nn.Linear(12, 8).double()
    layer = PairInput(5, 2, 8, symmetric=False).double()
    layer.load_whole(whole)
    inputs = torch.cat([h[:, :, None].expand(-1, -1, 7, -1), h[:, None].expand(-1, 7, -1, -1), e], -1)
    torch.testing.assert_close(layer(h, e, DensePairs(7)), whole(inputs), **CLOSE)


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_atoms_are_molecules_too(network: EGNN, n: int, bucket: Bucket) -> None:
    h, x = bucket
    out_h, out_x = network(h[:, :n], x[:, :n])
    assert bool(torch.isfinite(out_h).all())
    assert bool(torch.isfinite(out_x).all())


def test_coinciding_atoms_give_finite_values_and_gradients(network: EGNN, bucket: Bucket) -> None:
    h, x = bucket
    x = x.clone()
    x[:, 1] = x[:, 0]
    x.requires_grad_()
    out_h, out_x = network(h, x)
    (out_h.sum() + out_x.square().sum()).backward()
    assert bool(torch.isfinite(out_h).all())
    assert bool(torch.isfinite(x.grad).all())


def test_under_autocast_coordinates_stay_float32_and_nearly_equivariant(
    network: EGNN, bucket: Bucket, rotation: Callable[..., Tensor], source: torch.Generator
) -> None:
    network = network.float()
    h, x = (value.float() for value in bucket)
    network.requires_grad_(False)
    turn = rotation(source).float()
    x_turned = x @ turn.T
    for pairs in pairs_of(network):
        exact_h, exact = network(h, x, pairs())
        with torch.autocast("cpu", torch.bfloat16):
            out_h, out = network(h, x, pairs())
            _, turned = network(h, x_turned, pairs())
        assert out.dtype == torch.float32
        # Messages are rounded at 2^-8; what is rounded are invariants, so turning hardly changes the rounding.
        moved = float((exact - x).norm())
        assert float((out - exact).norm()) < 0.05 * moved
        assert float((turned - out @ turn.T).norm()) < 0.002 * moved
        assert float((out_h.float() - exact_h).norm()) < 0.03 * float(exact_h.norm())


def test_directions_are_summed_in_float32_under_autocast(source: torch.Generator) -> None:
    directions = torch.randn(2, 7, 7, 3, generator=source)
    weights = torch.randn(2, 7, 7, 1, generator=source)
    i, j = torch.triu_indices(7, 7, 1)
    cases: list[tuple[Pairs, Tensor, Tensor]] = [
        (DensePairs(7), weights, directions),
        (UndirectedPairs(7), weights[:, i, j], directions[:, i, j]),
        (SparsePairs(torch.stack([j, i]), 7), weights[0, i, j], directions[0, i, j]),
    ]
    for pairs, w, d in cases:
        expected = pairs.displacement(w, d)
        with torch.autocast("cpu", torch.bfloat16):
            found = pairs.displacement(w, d)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"divisor": 0.0}, "divisor"),
        ({"distance_offset": -1.0}, "distance_offset"),
        ({"coordinates_from": "dreams"}, "dreams"),
        ({"radial": -1}, "radial"),
        ({"radial": 8, "radial_cutoff": 0.0}, "radial_cutoff"),
        ({"colour": 3}, "unknown settings"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(change: dict[str, object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        EGNNConfig.from_dict({"inputs": 5, "outputs": 5, **change})


def test_undirected_pairs_refuse_directed_messages(
    make_network: Callable[[str], EGNN], bucket: Bucket
) -> None:
    h, x = bucket
    with pytest.raises(ConfigError, match="symmetric"):
        make_network("published")(h, x, UndirectedPairs(7))


def test_the_linearized_network_is_its_jacobian_by_automatic_differentiation(
    network: EGNN, bucket: Bucket, source: torch.Generator
) -> None:
    h, x = bucket
    dh, dx = (torch.randn(3, *at.shape, generator=source, dtype=torch.float64) for at in bucket)
    with torch.no_grad():
        out_h, out_x, push = linearized(network, h, x)
        d_out_h, d_out_x = push(dh, dx)
    wanted = network(h, x)
    for found, value in zip((out_h, out_x), wanted, strict=True):
        torch.testing.assert_close(found, value, **CLOSE)
    for k in range(3):
        _, products = jvp(network, (h, x), (dh[k], dx[k]))
        for found, product in zip((d_out_h[k], d_out_x[k]), products, strict=True):
            torch.testing.assert_close(found, product, **CLOSE)


def test_a_network_that_is_given_more_is_not_linearized(bucket: Bucket) -> None:
    h, x = bucket
    network = EGNN(EGNNConfig(5, 5, width=8, layers=1, velocity=True, symmetric=False)).double()
    with pytest.raises(ConfigError, match="given nothing else"):
        linearized(network, h, x)
