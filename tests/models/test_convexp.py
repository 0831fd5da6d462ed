"""Convolution exponentials: expm, traces against autograd, inverses, norms, relabeling, exact conditionals."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.convexp.autoregressive import STEEPEST
from models.convexp.conditionals import Conditionals
from models.convexp.exponential import LARGEST, NormTooLargeError, exponential, plan
from models.convexp.graphs import atom_features, bond_features
from models.convexp.layers import ConvolutionExponential, ConvolutionMap, DenseMap, GraphMap, householder
from models.convexp.model import NodeDensity
from models.convexp.sylvester import convolutional_sylvester, dense_sylvester, graph_sylvester
from models.core.errors import DivergedError, ShapeError

SOURCE = torch.Generator().manual_seed(5)


@pytest.fixture(autouse=True)
def _the_same_numbers_whatever_ran_before():
    SOURCE.manual_seed(5)


def normal(*shape, scale=1.0):
    return scale * torch.randn(*shape, generator=SOURCE, dtype=torch.float64)


def ring(n):
    a = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        a[i, (i + 1) % n] = a[(i + 1) % n, i] = 0.5
    return a


MAPS = {
    "dense": (lambda: DenseMap(normal(6, 6, scale=0.7)), (3, 6)),
    "conv1d": (lambda: ConvolutionMap(normal(2, 2, 3, scale=0.4)), (3, 2, 5)),
    "conv2d": (lambda: ConvolutionMap(normal(2, 2, 3, 3, scale=0.3)), (3, 2, 4, 3)),
    "graph": (lambda: GraphMap(normal(2, 2, scale=0.5), normal(2, 2, scale=0.5), ring(5)), (3, 5, 2)),
}


@pytest.fixture(params=MAPS)
def layer(request):
    make, shape = MAPS[request.param]
    return ConvolutionExponential(make()), normal(*shape)


def as_matrix(function, shape):
    x = torch.zeros(1, *shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: function(v)[0], x)
    return jacobian.reshape(math.prod(shape), math.prod(shape))


def test_the_log_determinant_is_autograds(layer):
    flow, x = layer
    log_det = flow(x)[1]
    assert log_det.shape == (3,)
    jacobian = as_matrix(lambda v: flow(v)[0], x.shape[1:])
    assert torch.linalg.slogdet(jacobian)[0] == 1
    assert torch.linalg.slogdet(jacobian)[1] == pytest.approx(log_det[0].item(), abs=1e-10)


def test_the_series_is_the_matrix_exponential(layer):
    flow, x = layer
    m = as_matrix(flow.linear, x.shape[1:])
    expected = (x.reshape(3, -1) @ torch.linalg.matrix_exp(m).T).reshape(x.shape)
    assert torch.allclose(flow(x)[0], expected, rtol=1e-12, atol=1e-12)


def test_the_inverse_undoes_and_negates(layer):
    flow, x = layer
    z, log_det = flow(x)
    again, back = flow.inverse(z)
    assert torch.allclose(again, x, rtol=1e-11, atol=1e-11)
    assert torch.equal(back, -log_det)


def test_the_bound_on_the_norm_is_never_too_small_and_the_trace_is_the_maps(layer):
    flow, x = layer
    m = as_matrix(flow.linear, x.shape[1:])
    assert torch.linalg.matrix_norm(m, 2).item() <= flow.linear.norm() * (1 + 1e-12)
    assert torch.as_tensor(flow.linear.trace(x)).item() == pytest.approx(m.trace().item(), abs=1e-12)


def test_gradients_reach_every_weight(layer):
    flow, x = layer
    (flow(x)[0].square().sum() - flow(x)[1].sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 20.0])
def test_large_maps_are_scaled_and_stay_accurate(scale):
    m = normal(8, 8)
    m = scale * m / torch.linalg.matrix_norm(m, 2)
    x = normal(4, 8)
    z = exponential(lambda v: v @ m.T, x, scale)
    expected = x @ torch.linalg.matrix_exp(m).T
    assert (z - expected).norm() < 1e-12 * math.exp(scale) * x.norm()
    if scale <= 5:
        assert torch.allclose(
            exponential(lambda v: v @ m.T, z, scale, sign=-1), x, atol=1e-9 * math.exp(scale)
        )


def test_a_map_that_is_too_large_is_an_error_and_not_a_silent_truncation():
    flow = ConvolutionExponential(DenseMap(2 * LARGEST * torch.eye(3, dtype=torch.float64)))
    for call in (flow, flow.inverse):
        with pytest.raises(NormTooLargeError, match="Scale the map down"):
            call(normal(1, 3))
    with pytest.raises(NormTooLargeError):
        plan(math.nan, 1e-9)


def test_the_plan_keeps_the_neglected_terms_below_the_tolerance():
    for norm in (0.0, 0.3, 1.0, 1.07, 7.5):
        for tolerance in (1e-3, 1e-7, 1e-14):
            factors, terms = plan(norm, tolerance)
            theta = norm / factors
            rest = math.exp(theta) - sum(theta**i / math.factorial(i) for i in range(terms + 1))
            assert theta <= 1
            assert rest <= tolerance / factors + 4e-16
    # The published truncations at norm 1.07 are off by 1.2e-4 with 6 terms; the plan takes what it needs.
    assert plan(1.0, 1e-12)[1] > 12


def test_relabeled_nodes_give_relabeled_values():
    own, neighbours = normal(2, 2, scale=0.5), normal(2, 2, scale=0.5)
    adjacency, x, order = ring(6), normal(1, 6, 2), torch.tensor([3, 0, 5, 1, 4, 2])
    first = ConvolutionExponential(GraphMap(own, neighbours, adjacency))(x)[0]
    second = ConvolutionExponential(GraphMap(own, neighbours, adjacency[order][:, order]))(x[:, order])[0]
    assert torch.allclose(first[:, order], second, atol=1e-13)


def test_a_linear_flow_has_the_gaussian_likelihood_of_its_covariance():
    flow = ConvolutionExponential(DenseMap(normal(4, 4, scale=0.5)))
    x = normal(5, 4)
    z, log_det = flow(x)
    found = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(1) + log_det
    e = torch.linalg.matrix_exp(flow.linear.weight.detach())
    gaussian = torch.distributions.MultivariateNormal(
        torch.zeros(4, dtype=torch.float64), precision_matrix=e.T @ e
    )
    assert torch.allclose(found, gaussian.log_prob(x), atol=1e-10)


SYLVESTER = {
    "dense": (lambda seed: dense_sylvester(5, seeded(seed)), (5,)),
    "conv1d": (lambda seed: convolutional_sylvester(2, (3,), seeded(seed)), (2, 5)),
    "conv2d": (lambda seed: convolutional_sylvester(2, (3, 3), seeded(seed)), (2, 3, 4)),
    "wide conv2d": (lambda seed: convolutional_sylvester(3, (5, 3), seeded(seed)), (3, 4, 3)),
    "graph": (lambda seed: graph_sylvester(3, ring(5), seeded(seed)), (5, 3)),
    "graph of one channel": (lambda seed: graph_sylvester(1, ring(6), seeded(seed)), (6, 1)),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=SYLVESTER)
def sylvester(request):
    make, shape = SYLVESTER[request.param]
    return make(1), normal(7, *shape)


def test_sylvester_layers_have_autograds_determinant_and_an_exact_inverse(sylvester):
    flow, x = sylvester
    z, log_det = flow(x)
    for k in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x[k])
        size = x[k].numel()
        sign, log = torch.linalg.slogdet(jacobian.reshape(size, size))
        assert sign == 1
        assert log.item() == pytest.approx(log_det[k].item(), abs=1e-10)
    again, back = flow.inverse(z)
    assert torch.allclose(again, x, atol=1e-9)
    assert torch.allclose(back, -log_det, atol=1e-9)
    assert 0 < flow.autoregressive(x)[1].abs().max() <= STEEPEST


def test_sylvester_layers_see_only_earlier_values_beside_their_own(sylvester):
    """Places come before each other row by row and channel after channel; on graphs only the channels do."""
    flow, x = sylvester
    size = x[0].numel()
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.autoregressive(v[None])[0][0], x[0])
    jacobian = jacobian.reshape(size, size)
    order = torch.arange(size).reshape(x.shape[1:])
    if flow.axis == 1:
        order = order.movedim(0, -1)
    order = order.movedim(-1, 0).flatten() if flow.axis == 2 else order.flatten()
    jacobian = jacobian[order][:, order]
    assert not jacobian.triu(1).any()
    channels = x.shape[flow.axis]
    assert jacobian.tril(-1).any() or (flow.axis == 2 and channels == 1)
    assert jacobian.diagonal().abs().min() > 0


def test_sylvester_densities_integrate_to_one():
    """One channel at two places, by the midpoint rule."""
    flow = convolutional_sylvester(1, (3,), seeded(3))
    axis = torch.arange(-8, 8, 0.05, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        z, log_det = flow(x)
    density = (log_det - 0.5 * z.square().flatten(1).sum(1) - math.log(2 * math.pi)).exp()
    assert float(density.sum()) * 0.05**2 == pytest.approx(1, abs=1e-6)


def test_sylvester_convolutions_take_any_size_and_relabeled_graphs_give_relabeled_values():
    flow = convolutional_sylvester(2, (3, 3), seeded(4))
    for shape in ((1, 1), (2, 5), (6, 3)):
        x = normal(2, 2, *shape)
        assert torch.allclose(flow.inverse(flow(x)[0])[0], x, atol=1e-9)
    adjacency, order = ring(6), torch.tensor([3, 0, 5, 1, 4, 2])
    first = graph_sylvester(3, adjacency, seeded(5))
    second = graph_sylvester(3, adjacency[order][:, order], seeded(5))
    x = normal(2, 6, 3)
    z, log_det = first(x)
    moved, same = second(x[:, order])
    assert torch.allclose(moved, z[:, order], atol=1e-12)
    assert torch.allclose(same, log_det, atol=1e-12)


def test_gradients_reach_every_weight_of_a_sylvester_layer(sylvester):
    """But for those that a mask shuts out."""
    flow, x = sylvester
    z, log_det = flow(x)
    (0.5 * z.square().flatten(1).sum(1) - log_det).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())
    without = [name for name, p in flow.named_parameters() if not p.grad.abs().sum() > 1e-12]
    # One channel has nothing before it to look at, and a reflection of one axis has no angle.
    assert without == (["reflections", "autoregressive.first"] if x.shape[flow.axis] == 1 else [])


def test_a_sylvester_layer_says_when_its_norm_or_its_inverse_is_out_of_reach():
    flow = convolutional_sylvester(1, (3,), seeded(6))
    with pytest.raises(DivergedError, match="after 64 sweeps"):
        flow.inverse(normal(1, 1, 4), tolerance=-1.0)
    with torch.no_grad():
        flow.mixing.linear.kernel.fill_(LARGEST)
    with pytest.raises(NormTooLargeError, match="Scale the map down"):
        flow(normal(1, 1, 4))
    with pytest.raises(NormTooLargeError):
        flow.inverse(normal(1, 1, 4))
    with pytest.raises(ShapeError, match="odd numbers"):
        convolutional_sylvester(1, (2,), seeded(6))


def test_reflections_are_orthogonal():
    q = householder(normal(4, 4))
    assert torch.allclose(q @ q.T, torch.eye(4, dtype=torch.float64), atol=1e-12)


# --- the density on molecular graphs ----------------------------------------------------------------------

ATOMS = torch.tensor([[6, 0, 0, 0], [6, 0, 0, 0], [8, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
BONDS, ORDERS = np.array([[0, 1], [1, 2], [0, 3], [0, 4]]), np.array([1.0, 2.0, 1.0, 1.0])
CONFIG = {
    "width": 8, "layers": 2, "maps": 2, "bins": 4, "noise": 0.005,
    "elements": {"1": [0.2, 0.06, 9], "6": [-0.1, 0.27, 9], "8": [-0.6, 0.07, 9]},
}  # fmt: skip


def batch_of(order=None, copies=1):
    n = len(ATOMS)
    order = list(range(n)) if order is None else order
    place = np.argsort(order)
    ends = np.concatenate([place[BONDS], place[BONDS][:, ::-1]]).T
    both = torch.from_numpy(np.concatenate([ends + n * k for k in range(copies)], 1).copy())
    return SimpleNamespace(
        atoms=atom_features(ATOMS[order].repeat(copies, 1)), edge_index=both,
        edges=bond_features(torch.from_numpy(np.tile(ORDERS, 2 * copies))),
        batch=torch.arange(copies).repeat_interleave(n), ptr=torch.arange(copies + 1) * n,
    )  # fmt: skip


@pytest.fixture(scope="module")
def density():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = NodeDensity(CONFIG).double()
    source = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=source))
    return model.requires_grad_(False)


def charges(density, batch):
    return density.given(batch).sample(torch.Generator().manual_seed(1))


def test_the_log_density_is_that_of_the_change_of_variables(density):
    batch = batch_of()
    x, given = charges(density, batch), density.given(batch)
    jacobian = torch.autograd.functional.jacobian(lambda v: given.forward(given.to_normal(v)[0]), x)
    z = given.forward(given.to_normal(x)[0])
    expected = torch.linalg.slogdet(jacobian)[1] - 0.5 * z.square().sum() - 2.5 * math.log(2 * math.pi)
    assert density.log_prob(batch, x).item() == pytest.approx(expected.item(), abs=1e-9)
    assert given.contributions(x).sum().item() == pytest.approx(expected.item(), abs=1e-9)
    again = given.to_values(given.inverse(z))
    assert torch.allclose(again, x, atol=1e-9)


def test_relabeled_atoms_have_the_same_density_and_relabeled_contributions(density):
    order = [4, 2, 0, 3, 1]
    x = charges(density, batch_of())
    first, second = (
        density.given(batch_of()).contributions(x),
        density.given(batch_of(order)).contributions(x[order]),
    )
    assert torch.allclose(first[order], second, atol=1e-10)


def test_a_batch_scores_as_one_by_one(density):
    x = charges(density, batch_of())
    alone = density.log_prob(batch_of(), x)
    other = charges(density, batch_of(copies=2))[5:]
    both = density.log_prob(batch_of(copies=2), torch.cat([x, other]))
    assert both[0].item() == pytest.approx(alone.item(), abs=1e-10)
    assert both[1].item() == pytest.approx(density.log_prob(batch_of(), other).item(), abs=1e-10)


def test_leave_one_out_densities_integrate_to_one_and_are_the_joint_over_the_rest(density):
    batch = batch_of()
    x, found = charges(density, batch), Conditionals(density.given(batch))
    exact = found.leave_one_out(x)
    for atom in (1, 3):
        spread = float(exact.high[atom] - exact.low[atom])
        grid = (
            torch.linspace(0, 1, 2401, dtype=torch.float64) * 16 * spread + exact.expected[atom] - 8 * spread
        )
        values = x.repeat(len(grid), 1)
        values[:, atom] = grid
        given = density.given(batch)
        joint = torch.stack([given.log_prob(v)[0] for v in values[::1200]])
        many = found.log_prob_of_many(values[::1200])
        assert torch.allclose(joint, many, atol=1e-9)
        total = torch.trapezoid(found.log_prob_of_many(values).exp(), grid)
        expected = density.log_prob(batch, x)[0] - total.log()
        assert exact.log_density[atom].item() == pytest.approx(expected.item(), abs=2e-3)


def test_the_best_swap_is_the_best_of_all_swaps(density):
    batch = batch_of()
    found = Conditionals(density.given(batch))
    for seed in range(5):
        x = charges(density, batch)[torch.randperm(5, generator=torch.Generator().manual_seed(seed))]
        gains = {}
        for i in range(5):
            for j in range(i):
                swapped = x.clone()
                swapped[[i, j]] = x[[j, i]]
                gains[j, i] = float(density.log_prob(batch, swapped) - density.log_prob(batch, x))
        i, j, gain = found.best_swap(x)
        assert gain == pytest.approx(max(gains.values()), rel=1e-12, abs=1e-8)
        assert gains[i, j] == pytest.approx(gain, rel=1e-12, abs=1e-8)


def test_completions_keep_what_is_given_and_have_the_conditional_moments(density):
    batch = batch_of()
    x, found = charges(density, batch), Conditionals(density.given(batch))
    missing = torch.tensor([False, True, False, True, False])
    made = found.complete(torch.where(missing, math.nan, x), missing, torch.Generator().manual_seed(0), 4000)
    assert torch.equal(made.samples[:, ~missing], x[~missing].expand(4000, 3))
    inside = ((made.samples >= made.low) & (made.samples <= made.high)).double().mean(0)[missing]
    # 90 % of 4000 draws: a deviation of 0.025 is beyond five standard errors (one false alarm in a million)
    assert (inside - 0.9).abs().max() < 0.025
    below = (made.samples < made.median).double().mean(0)[missing]
    assert (below - 0.5).abs().max() < 0.04
    one = torch.tensor([False, False, True, False, False])
    alone = found.complete(x, one, torch.Generator().manual_seed(0), 1)
    assert alone.median[2].item() == pytest.approx(found.leave_one_out(x).expected[2].item(), abs=1e-10)


def test_gradients_reach_every_parameter_of_the_density():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NodeDensity(CONFIG)
    batch = batch_of(copies=2)
    batch.charges = 0.1 * torch.randn(10, generator=SOURCE)
    model.loss(batch, options={}, generator=torch.Generator().manual_seed(0))["loss"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for _, p in model.named_parameters())
