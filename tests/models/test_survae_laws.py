"""Laws of SurVAE layers: every layer, every claim, in float64."""

import math

import numpy as np
import pytest
import torch

from models.core.errors import ConfigError
from models.survae.bijections import (
    Affine,
    FromZuko,
    Gaps,
    Linear,
    Logit,
    Permute,
    Positive,
    autoregressive,
    coupling,
)  # fmt: skip
from models.survae.conditionals import StandardNormal
from models.survae.contract import Noise, Parts, Stack
from models.survae.flow import SurVAE
from models.survae.surjections import (
    Abs,
    Argmax,
    Augment,
    Encode,
    Max,
    Round,
    Shuffle,
    Slice,
    Sort,
    log_orders,
)  # fmt: skip


def noise(seed=0):
    return Noise(torch.Generator().manual_seed(seed))


def randomized(module, seed=0):
    """Every parameter random, so that no law holds only at the start."""
    source = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return module.eval()


def values(support, shape, seed=1):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=source, dtype=torch.float64)
    match support:
        case "positive":
            return x.abs() + 1e-3
        case "unit":
            return torch.sigmoid(x)
        case "ordered":
            return x.sort(1).values
        case "counts":
            return (3 * x.abs()).floor()
        case "integers":
            return (3 * x).round()
    return x


BIJECTIONS = {
    "affine": lambda: Affine([0.3, -1.0, 2.0], [0.5, 2.0, 1.0]),
    "linear": lambda: Linear(3),
    "permute": lambda: Permute([2, 0, 1]),
    "positive": Positive,
    "gaps": Gaps,
    "logit": Logit,
    "coupling": lambda: coupling(3, 0, (16,)),
    "spline": lambda: autoregressive(3, 0, (16,), bins=6),
    "affine autoregressive": lambda: autoregressive(3, 0, (16,)),
}


@pytest.mark.parametrize("name", BIJECTIONS)
def test_a_bijection_tells_its_log_determinant_and_is_inverted_by_its_inverse(name):
    layer = randomized(BIJECTIONS[name]())
    x = values(layer.takes, (5, 3))
    z, contribution = layer(x, None, noise())
    for row in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(
            lambda v: layer(v[None], None, noise()).value[0], x[row]
        )
        assert contribution[row].item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    torch.testing.assert_close(layer.inverse(z, None, noise()), x, atol=1e-7, rtol=1e-7)
    assert layer.exact


SURJECTIONS = {
    "abs": (lambda: Abs(3, hidden=8), 3),
    "max": (lambda: Max(3), 1),
    "sort": (Sort, 3),
    "slice": (lambda: Slice(2, 3), 2),
}


@pytest.mark.parametrize("name", SURJECTIONS)
def test_a_surjection_to_the_latent_is_a_right_inverse_and_exact(name):
    build, size = SURJECTIONS[name]
    layer = randomized(build())
    z, _ = layer(values(layer.takes, (20, 3)), None, noise())
    assert z.shape == (20, size)
    torch.testing.assert_close(layer(layer.inverse(z, None, noise(3)), None, noise()).value, z)
    assert layer.exact


TO_THE_DATA = {
    "round": (lambda: Round("counts"), "counts", 3),
    "round integers": (lambda: Round("integers"), "integers", 3),
    "augment": (lambda: Augment(3, 2), "real", 5),
}


@pytest.mark.parametrize("name", TO_THE_DATA)
def test_a_surjection_to_the_data_finds_its_data_again_and_is_a_bound(name):
    build, support, size = TO_THE_DATA[name]
    layer = randomized(build())
    x = values(support, (50, 3))
    z, _ = layer(x, None, noise())
    assert z.shape == (50, size)
    torch.testing.assert_close(layer.inverse(z, None, noise()), x)
    assert not layer.exact


def test_argmax_draws_only_where_the_category_wins():
    layer = randomized(Argmax(4))
    x = torch.arange(4.0, dtype=torch.float64).repeat(50)[:, None]
    z, _ = layer(x, None, noise())
    assert torch.equal(layer.inverse(z, None, noise()), x)


def test_the_draw_of_argmax_has_the_density_that_is_counted():
    """log q(z | x) against the log-determinant of the way from its normal numbers."""
    layer = randomized(Argmax(3))

    class Fixed:
        def __init__(self, eps):
            self.eps = eps

        def normal(self, like, shape):
            return self.eps[None].expand(len(like), *shape)

    x = torch.tensor([[1.0]], dtype=torch.float64)
    eps = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    jacobian = torch.autograd.functional.jacobian(lambda e: layer(x, None, Fixed(e)).value[0], eps)
    log_q = StandardNormal().log_prob(eps[None])[0] - torch.linalg.slogdet(jacobian)[1]
    assert layer(x, None, Fixed(eps)).contribution.item() == pytest.approx(-log_q.item(), abs=1e-9)


def grid(low, high, n):
    points = torch.linspace(low, high, n, dtype=torch.float64)[:, None]
    return points, float(points[1, 0] - points[0, 0])


def real_tail(size):
    """Layers of R^d that every test ends with."""
    return [Affine([0.2] * size, [0.9] * size), autoregressive(size, 0, (8,), bins=4)]


INTEGRATED = {
    "abs in one": (1, lambda: [Abs(1, hidden=4), Positive(), Affine([0.2], [0.9])], ()),
    "abs in two": (2, lambda: [Abs(2, hidden=4), Positive(), *real_tail(2)], ()),
    "sort of two": (2, lambda: [Sort(), Gaps(), *real_tail(2)], ()),
    "sort of three": (3, lambda: [Sort(), Gaps(), *real_tail(3)], ()),
    "slice": (2, lambda: [Slice(1, 2, hidden=4), Affine([0.2], [0.9])], (1,)),
    "max of two": (2, lambda: [Max(2), Affine([0.2], [0.9])], (1,)),
    "max of three": (3, lambda: [Max(3), Affine([0.2], [0.9])], (1,)),
    "flow": (2, lambda: [coupling(2, 0, (8,)), Permute([1, 0]), Linear(2), *real_tail(2)], ()),
}


@pytest.mark.parametrize("name", INTEGRATED)
def test_an_exact_density_integrates_to_one(name):
    """By importance sampling from a wide normal; five standard errors, which fails by chance once in a million.

    Lost mass, as of a sort without its chamber, would be a quarter or more.
    """
    dimensions, layers, latent = INTEGRATED[name]
    flow = randomized(SurVAE(layers(), StandardNormal(), latent or (dimensions,)), seed=3)
    n, scale = 30_000, 2.5
    x = scale * torch.randn(n, dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        log_q = StandardNormal().log_prob(x / scale) - dimensions * math.log(scale)
        weights = (flow.log_prob(x) - log_q).exp()
    error = float(weights.std()) / math.sqrt(n)
    assert error < 0.03
    assert float(weights.mean()) == pytest.approx(1.0, abs=5 * error)


def marginal(flow, x, draws=1500):
    """log p(x) of a bound by many draws, and its standard error."""
    with torch.no_grad():
        value, error = flow.elbo(x, noise(5), draws)
    return value.exp(), error * value.exp()


def test_a_count_has_the_mass_of_its_cell():
    """P(count = k) of a normal number behind softplus is a difference of distribution functions."""
    affine = Affine([0.4], [1.3])
    flow = SurVAE([Round("counts"), Positive(), affine], StandardNormal(), (1,), takes="counts").double()
    x = torch.arange(12.0, dtype=torch.float64)[:, None]
    edges = torch.arange(1.0, 13, dtype=torch.float64)
    cdf = torch.special.ndtr(affine(edges.expm1().log()[:, None], None, noise()).value[:, 0].detach())
    wanted = cdf.diff(prepend=torch.zeros(1, dtype=torch.float64))
    p, error = marginal(flow, x, 2000)
    assert ((p - wanted).abs() < 5 * error + 1e-3).all()
    assert float(wanted.sum()) == pytest.approx(1.0, abs=0.01)


def test_categories_sum_to_one():
    """By importance weights of 4,000 draws, five standard errors."""
    flow = SurVAE(
        [randomized(Argmax(3)), Affine([0.2] * 3, [0.9] * 3)], StandardNormal(), (3,), takes="categories"
    )
    p, error = marginal(flow.double(), torch.arange(3.0, dtype=torch.float64)[:, None], 4_000)
    spread = float(error.square().sum().sqrt())
    assert spread < 0.1
    assert float(p.sum()) == pytest.approx(1.0, abs=5 * spread)
    assert flow.kind == "lower_bound"


def test_integers_sum_to_one():
    flow = randomized(
        SurVAE([Round("integers"), *real_tail(2)], StandardNormal(), (2,), takes="integers"), seed=5
    )
    x = torch.cartesian_prod(*[torch.arange(-12.0, 13).double()] * 2)
    p, error = marginal(flow, x, 300)
    assert float(p.sum()) == pytest.approx(1.0, abs=5 * float(error.square().sum().sqrt()) + 1e-3)


@pytest.mark.parametrize(
    "wrong", [[Sort()], [Abs(2)], [Sort(), Abs(2)], [Sort(), Permute([1, 0])], [Positive()]]
)
def test_a_stack_that_would_lose_mass_cannot_be_assembled(wrong):
    with pytest.raises(ConfigError):
        SurVAE(wrong, StandardNormal(), (2,))


def test_sort_equals_the_average_over_all_orders():
    """log p of a set is that of the sorted vector shared among its n! orders."""
    flow = randomized(SurVAE([Sort(), Gaps(), *real_tail(3)], StandardNormal(), (3,)))
    x = values("real", (8, 3))
    z, contribution = Stack(list(flow.stack.layers)[1:], takes="ordered")(x.sort(1).values, None, noise())
    wanted = StandardNormal().log_prob(z) + contribution - math.log(6)
    torch.testing.assert_close(flow.log_prob(x), wanted)


def test_ties_have_fewer_orders():
    z = torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [4.0, 4.0, 4.0]], dtype=torch.float64)
    np.testing.assert_allclose(log_orders(z), np.log([3, 6, 1]), atol=1e-12)


def test_a_sorted_density_does_not_know_the_order():
    flow = randomized(SurVAE([Sort(), Gaps(), *real_tail(4)], StandardNormal(), (4,)))
    x = values("real", (6, 4))
    for seed in range(5):
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(flow.log_prob(x[:, order]), flow.log_prob(x), atol=1e-12, rtol=0)


def test_a_shuffled_density_does_not_know_the_order_on_average():
    """Mean of p over draws of the order: equal for a vector and its mirror within five standard errors."""
    flow = randomized(SurVAE([Shuffle(), *real_tail(3)], StandardNormal(), (3,)))
    x = values("real", (2, 3))
    (a, ea), (b, eb) = marginal(flow, x, 600), marginal(flow, x.flip(1), 600)
    assert ((a - b).abs() < 5 * (ea.square() + eb.square()).sqrt()).all()
    assert not flow.exact


def test_abs_is_the_sum_of_its_two_branches():
    flow = randomized(SurVAE([Abs(1, hidden=4), Positive(), Affine([0.0], [1.0])], StandardNormal(), (1,)))
    z = torch.tensor([[0.7], [1.3]], dtype=torch.float64)
    positive = Stack(list(flow.stack.layers)[1:], takes="positive")
    latent, contribution = positive(z, None, noise())
    both = flow.log_prob(z).exp() + flow.log_prob(-z).exp()
    torch.testing.assert_close(both, (StandardNormal().log_prob(latent) + contribution).exp())


def linear_gaussian(size=2):
    """A bound with a known answer: x ~ N(z, s^2), z ~ N(0, 1)."""
    flow = SurVAE([Encode(size, size, hidden=4)], StandardNormal(), (size,)).double()
    layer = flow.stack.layers[0]
    with torch.no_grad():
        for net, slope, log_scale in ((layer.decoder, 1.0, -0.5), (layer.encoder, 0.5, -0.3)):
            net.network = torch.nn.Sequential(torch.nn.Linear(size, 2 * size)).double()
            net.network[0].weight.copy_(torch.cat([slope * torch.eye(size), torch.zeros(size, size)]))
            net.network[0].bias.copy_(torch.cat([torch.zeros(size), torch.full((size,), log_scale)]))
    return flow, 1 + math.exp(-1.0)


def test_the_bound_lies_below_the_truth_and_grows_with_its_draws():
    """A linear-Gaussian layer has a closed form; the mean of bounds of 1, 8 and 3,000 draws rises to it."""
    flow, variance = linear_gaussian()
    x = values("real", (1, 2)).expand(4000, 2)
    truth = float(torch.distributions.Normal(0.0, math.sqrt(variance)).log_prob(x[0]).sum())
    with torch.no_grad():
        means = [float(flow.elbo(x, noise(k), k)[0].mean()) for k in (1, 8)]
        many, error = flow.elbo(x[:1], noise(9), 3_000)
    assert means[0] < means[1] < truth + 0.01
    assert float(many) == pytest.approx(truth, abs=5 * float(error))


def test_samples_have_the_density_that_is_told():
    """Share of 20,000 samples in each half of a sorted pair's gap and of abs' sign; five standard errors."""
    flow = randomized(
        SurVAE([Abs(1, hidden=4), Positive(), Affine([0.2], [0.9])], StandardNormal(), (1,)), seed=6
    )
    n = 20_000
    with torch.no_grad():
        x = flow.sample(torch.zeros(n, dtype=torch.float64), noise(8))
        edges = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5]).double()
        counts = np.bincount(np.digitize(x[:, 0], edges), minlength=6) / n
        points, cell = grid(-30.0005, 30.0, 60_001)
        p = flow.log_prob(points).exp() * cell
    wanted = np.bincount(np.digitize(points[:, 0], edges), p, minlength=6)
    assert (np.abs(counts - wanted) < 5 * np.sqrt(wanted / n) + 1e-3).all()


def test_a_row_is_the_same_alone_and_in_a_batch():
    rows = Parts(
        [Stack([Round("counts"), Positive()], takes="counts"), Argmax(3)], columns=[1, 1], latent=[1, 3]
    )
    flow = randomized(SurVAE([rows, *real_tail(4)], StandardNormal(), (4,)))
    x = torch.tensor([[3.0, 1.0], [0.0, 2.0], [7.0, 0.0]], dtype=torch.float64)

    def own(indices):
        return Noise([torch.Generator().manual_seed(index) for index in indices])

    with torch.no_grad():
        together = flow.elbo(x, own([0, 1, 2]), 4)[0]
        alone = flow.elbo(x[1:2], own([1]), 4)[0]
    torch.testing.assert_close(together[1:2], alone, atol=1e-12, rtol=0)


def test_a_density_with_a_bound_in_it_has_no_log_prob():
    flow = SurVAE([Augment(2, 1), *real_tail(3)], StandardNormal(), (3,))
    with pytest.raises(ConfigError, match="Augment"):
        flow.log_prob(torch.zeros(1, 2))


def test_the_flag_is_carried_through_any_stack():
    exact, bound = Stack([Affine([0.0] * 2, [1.0] * 2)]), Stack([Augment(2, 1)])
    assert exact.exact and not bound.exact
    assert not Stack([Stack([Augment(2, 1)]), Affine([0.0] * 3, [1.0] * 3)]).exact
    assert not Parts([exact, bound], columns=[2, 2], latent=[2, 3]).exact


def test_gradients_reach_every_parameter():
    rows = Parts(
        [Stack([Round("counts"), Positive()], takes="counts"), Argmax(3)], columns=[1, 1], latent=[1, 3]
    )
    flow = randomized(SurVAE([rows, *real_tail(4)], StandardNormal(), (4,)))
    x = torch.tensor([[3.0, 1.0], [0.0, 2.0], [7.0, 0.0]], dtype=torch.float64)
    flow.once(x, noise()).sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())


def test_context_changes_the_density_and_its_inverse_undoes_it():
    layer = randomized(FromZuko(autoregressive(2, 3, (8,), bins=4).lazy, 2))
    x, context = values("real", (5, 2)), values("real", (5, 3), seed=7)
    z, _ = layer(x, context, noise())
    torch.testing.assert_close(layer.inverse(z, context, noise()), x, atol=1e-7, rtol=1e-7)
    assert not torch.allclose(z, layer(x, context + 1, noise()).value)
