"""Laws of self-normalizing flows: the stand-in gradient, exact scores, exact inverses, known Gaussians."""

import math

import pytest
import torch

from models.core.errors import ConfigError, ShapeError
from models.selfnorm.activations import SmoothLeaky
from models.selfnorm.convolution import SelfNormConvolution, convolve, occurrences
from models.selfnorm.dense import SelfNormLinear
from models.selfnorm.model import SelfNormFlow, gaussian_log_prob


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def half_and_half(layer, x, log_det):
    """Exact gradients of the two halves of the objective at R = W^-1, by autograd: for W, then for R = W^-1."""
    weight = layer.weight.detach().clone().requires_grad_()
    z = log_det[0](weight)
    loss = 0.5 * z.square().sum() - len(x) * log_det[1](weight)
    return torch.autograd.grad(loss, weight)[0]


def test_at_the_inverse_the_dense_gradient_is_autograds():
    torch.manual_seed(0)
    layer = SelfNormLinear(6, spread=0.8).double()
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    x = draw(9, 6)
    z, log_det, _ = layer.learn(x)
    (0.5 * (z - layer.bias).square().sum() - log_det.sum()).backward()
    exact = half_and_half(layer, x, (lambda w: x @ w.T, lambda w: torch.linalg.slogdet(w)[1]))
    torch.testing.assert_close(2 * layer.weight.grad, exact, atol=1e-11, rtol=0)
    # The same objective told by R: W = R^-1.
    R = torch.linalg.inv(layer.weight.detach()).requires_grad_()
    other = 0.5 * torch.linalg.solve(R, x.T).square().sum() + len(x) * torch.linalg.slogdet(R)[1]
    torch.testing.assert_close(
        2 * layer.inverse_weight.grad, torch.autograd.grad(other, R)[0], atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("space", [(7,), (4, 5)])
def test_the_log_determinant_gradient_of_a_kernel_is_autograds(space):
    """The stand-in kernel sees the middle of the inverse; with the true inverse matrix the sum is autograd's."""
    layer = SelfNormConvolution(2, (3,) * len(space)).double()
    weight = layer.weight.detach().clone().requires_grad_()
    size = 2 * math.prod(space)
    basis = torch.eye(size, dtype=torch.float64).view(size, 2, *space)
    matrix = convolve(basis, weight).flatten(1).T
    exact = torch.autograd.grad(torch.linalg.slogdet(matrix)[1], weight, retain_graph=True)[0]
    inverse = torch.linalg.inv(matrix.detach())
    by_sum = torch.autograd.grad((matrix * inverse.T).sum(), weight)[0]
    torch.testing.assert_close(by_sum, exact, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("space", [(7,), (4, 5)])
def test_a_kernel_of_one_position_has_an_exact_stand_in(space):
    """Where the inverse is itself a convolution, of kernel size one, the gradient is autograd's."""
    torch.manual_seed(1)
    layer = SelfNormConvolution(3, (1,) * len(space), spread=1.0).double()
    square = layer.weight.detach().flatten(1)
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(square).view_as(layer.weight))
    x = draw(4, 3, *space)
    z, log_det, again = layer.learn(x)
    (0.5 * (z - layer.bias).square().sum() - log_det.sum()).backward()
    exact = half_and_half(
        layer,
        x,
        (
            lambda w: convolve(x, w),
            lambda w: math.prod(space) * torch.linalg.slogdet(w.flatten(1))[1],
        ),
    )
    torch.testing.assert_close(2 * layer.weight.grad, exact, atol=1e-10, rtol=0)
    assert again.max().item() < 1e-20


def test_kernel_entries_are_counted_as_often_as_they_occur():
    layer = SelfNormConvolution(1, (3, 3))
    ones = torch.ones_like(layer.weight).requires_grad_()
    basis = torch.eye(20).view(20, 1, 4, 5)
    convolve(basis, ones).sum().backward()
    torch.testing.assert_close(ones.grad[0, 0], occurrences((4, 5), (3, 3)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SelfNormLinear(5, spread=0.5), (5,)),
        (SelfNormConvolution(2, (3,)), (2, 6)),
        (SelfNormConvolution(2, (3, 3)), (2, 3, 4)),
        (SmoothLeaky(0.3), (5,)),
    ],
    ids=["dense", "one dimension", "two dimensions", "activation"],
)
def test_scores_use_the_exact_log_determinant_and_inverses_undo(layer, shape):
    layer = layer.double().requires_grad_(False)
    x = draw(3, *shape)
    z, log_det = layer(x)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0][0], x[row])
        size = math.prod(shape)
        wanted = torch.linalg.slogdet(jacobian.reshape(size, size))[1]
        assert log_det[row].item() == pytest.approx(wanted.item(), abs=1e-9)
    torch.testing.assert_close(layer.inverse(z), x, atol=1e-8, rtol=1e-8)


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def names(self):
        return [f"c{k}" for k in range(self.rows.shape[1])]

    def widths(self):
        return torch.full((self.rows.shape[1],), 1e-3)


class Batch:
    def __init__(self, rows):
        self.rows = rows


def trained(rows, layers, steps=400, rate=0.01):
    torch.manual_seed(0)
    model = SelfNormFlow(SelfNormFlow.config_for({"layers": layers, "slope": 0.3}, Rows(rows)))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    source = torch.Generator().manual_seed(0)
    for step in range(steps):
        chosen = torch.randint(len(rows), (256,), generator=source)
        optimizer.zero_grad()
        model.loss(Batch(rows[chosen]), options={}, generator=source)["loss"].mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()
    return model.eval().requires_grad_(False)


def test_a_linear_flow_learns_a_gaussian_and_its_likelihood():
    """Without a single determinant in training: within 0.02 nats of the best normal, on its own data."""
    mix = draw(4, 4, seed=3).float()
    rows = draw(4000, 4, seed=4).float() @ mix.T + 2
    model = trained(rows, layers=1)
    best = gaussian_log_prob(rows, rows.mean(0), torch.cov(rows.T))
    assert float((best - model.log_prob(rows)).mean()) == pytest.approx(0.0, abs=0.02)
    assert max(model.drift()) < 0.1
    assert float(model.inverse_error(rows).max()) < 0.2


def test_a_trained_density_integrates_to_one_and_samples_follow_it():
    """On a grid in two dimensions; sample means within five standard errors of the density's."""
    z = draw(3000, 2, seed=5).float()
    rows = torch.stack([z[:, 0], z[:, 1] * 0.5 + z[:, 0].square() * 0.5], 1)
    model = trained(rows, layers=3)
    axis = torch.linspace(-12, 12, 500)
    points = torch.cartesian_prod(axis, axis)
    p = model.log_prob(points).exp() * float(axis[1] - axis[0]) ** 2
    assert float(p.sum()) == pytest.approx(1.0, abs=0.01)
    samples = model.sample(range(2000))
    mean = (p[:, None] * points).sum(0)
    error = samples.std(0) / math.sqrt(len(samples))
    assert ((samples.mean(0) - mean).abs() < 5 * error + 0.02).all()


def test_a_row_is_the_same_alone_and_in_a_batch():
    model = trained(draw(500, 3).float(), layers=2, steps=3)
    torch.testing.assert_close(model.sample([1, 2, 3])[1:2], model.sample([2]))
    rows = draw(4, 3, seed=2).float()
    assert model.score(rows)[1].log_prob == pytest.approx(model.score(rows[1:2])[0].log_prob, abs=1e-4)


def test_what_does_not_fit_is_named():
    model = trained(draw(500, 3).float(), layers=1, steps=1)
    with pytest.raises(ShapeError, match=r"\[b, 3\]"):
        model.log_prob(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="names"):
        SelfNormFlow({})
    with pytest.raises(ConfigError, match="odd"):
        SelfNormConvolution(1, (2,))
