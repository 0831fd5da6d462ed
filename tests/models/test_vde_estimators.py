"""Log-determinants by sampling against exact ones: unbiased, bounded, of zero variance where they should be."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.core.errors import ConfigError, DivergedError, ShapeError
from models.core.random import generator
from models.vde.coupling import CouplingFlow
from models.vde.errors import FewEffectiveSamplesError, NotPositiveDefiniteError, SingularError
from models.vde.estimators import bound, effective_samples, importance
from models.vde.exact import exact
from models.vde.lanczos import lanczos_log_det
from models.vde.operators import Form, convolution, dense, normal, product, to_matrix
from models.vde.projective import DiagonalProjection, FixedProjection, LowRankProjection, TriangularProjection
from models.vde.training import fit
from models.vde.weights import log_weights, power

FORMS: tuple[Form, ...] = ("general", "spd")


def gaussian(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, n, generator=generator(seed, "matrix"), dtype=torch.float64)


def definite(n: int, condition: float = 50.0, seed: int = 0) -> Tensor:
    """Symmetric positive definite with a spectrum spread evenly on the log scale."""
    q = torch.linalg.qr(gaussian(n, seed))[0]
    return q @ torch.diag(torch.logspace(0, math.log10(condition), n, dtype=torch.float64)) @ q.T


def matrix_of(form: Form, n: int) -> Tensor:
    return gaussian(n) if form == "general" else definite(n)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [2, 3])
def test_the_mean_weight_is_the_reciprocal_determinant(form: Form, n: int) -> None:
    """A z-test over 10,000 independent batches of 20 weights from a proposal that is not the best one.

    |z| < 4.9 fails a correct estimator with probability 1e-6; the four cases together 4e-6.
    """
    matrix = matrix_of(form, n)
    proposal = FixedProjection(torch.eye(n) + 0.3 * torch.randn(n, n, generator=generator(1)))
    weights = log_weights(dense(matrix), proposal, 200_000, form=form, generator=generator(n, "z"))
    batches = weights.exp().reshape(10_000, 20).mean(1)
    truth = math.exp(-exact(matrix, form).value / power(form))
    z = (float(batches.mean()) - truth) / (float(batches.std()) / 100)
    assert abs(z) < 4.9
    assert float(batches.std()) > 1e-3 * truth  # the weights do vary


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [2, 10, 54])
def test_the_angular_central_gaussian_of_the_inverse_has_no_variance(form: Form, n: int) -> None:
    matrix = matrix_of(form, n)
    root = matrix if form == "general" else torch.linalg.cholesky(matrix).T
    best = FixedProjection(torch.linalg.inv(root))
    weights = log_weights(dense(matrix), best, 500, form=form, generator=generator(2))
    truth = exact(matrix, form).value
    assert float((weights + truth / power(form)).abs().max()) < 1e-12 * max(n, 10)
    assert float((weights - weights[0]).exp().var()) < 1e-12
    assert effective_samples(weights) == pytest.approx(500, abs=1e-6)
    assert importance(weights, power=power(form)).value == pytest.approx(truth, abs=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_the_bound_is_above_the_truth_and_the_estimate_meets_it(form: Form) -> None:
    """Bounds of 10 proposals. A bound lies below the truth by 4 of its errors with probability 3e-5 each."""
    matrix = matrix_of(form, 6)
    truth = exact(matrix, form).value
    for seed in range(10):
        flow = FixedProjection(torch.eye(6) + 0.2 * torch.randn(6, 6, generator=generator(seed)))
        weights = log_weights(dense(matrix), flow, 4000, form=form, generator=generator(seed, "bound"))
        found = bound(weights, power=power(form))
        assert found.kind == "upper_bound" and found.value > truth - 4 * found.standard_error
        assert found.value >= -power(form) * (float(weights.logsumexp(0)) - math.log(4000))  # Jensen, always


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [12, 54])
def test_a_fitted_triangular_projection_gives_the_log_determinant(form: Form, n: int) -> None:
    """Within 5 standard errors, which a correct estimate leaves with probability 6e-7."""
    matrix = matrix_of(form, n)
    operator = dense(matrix)
    flow = TriangularProjection(n)
    record = fit(flow, operator, form=form, steps=300, batch=128, generator=generator(3, "fit"))
    weights = log_weights(operator, flow, 1000, form=form, generator=generator(3, "weights"))
    found, truth = importance(weights, power=power(form)), exact(matrix, form).value
    assert abs(found.value - truth) < 5 * found.standard_error + 1e-6
    assert found.low - found.standard_error < truth < found.high + found.standard_error
    assert (found.effective_samples or 0) > 500
    assert record.bounds[-1] < record.bounds[0]
    products = 300 * 128 * (1 if form == "spd" else 2)
    assert (record.matvecs, operator.matvecs) == (products, products + 1000)


def test_the_natural_gradient_does_not_see_the_condition_number() -> None:
    """Triangular changes of variables commute with the fit: A and A B^-1 from L and B L are the same run."""
    n = 8
    matrix, source = gaussian(n), generator(4)
    change = torch.eye(n, dtype=torch.float64) + torch.randn(
        n, n, generator=source, dtype=torch.float64
    ).tril(-1).mul(2)
    flows = TriangularProjection(n), TriangularProjection(n)
    with torch.no_grad():
        flows[1].factor.copy_(change)
    other = matrix @ torch.linalg.inv(change)
    assert float(torch.linalg.cond(other)) > 5 * float(torch.linalg.cond(matrix))
    runs = [
        fit(flow, dense(each), steps=40, batch=64, generator=generator(5))
        for flow, each in zip(flows, (matrix, other), strict=True)
    ]
    torch.testing.assert_close(torch.tensor(runs[0].bounds), torch.tensor(runs[1].bounds), rtol=0, atol=1e-6)


def test_the_natural_gradient_is_autograds_in_other_coordinates() -> None:
    """d bound / d factor, taken back by L^T and cut to the lower triangle."""
    n, matrix = 5, definite(5)
    for form in FORMS:
        flow = TriangularProjection(n)
        with torch.no_grad():
            flow.factor.copy_(torch.eye(n) + 0.3 * torch.randn(n, n, generator=generator(6)).tril())
        before = flow.factor.detach().clone()
        weights = _differentiable_bound(flow, matrix, form)
        (gradient,) = torch.autograd.grad(weights, flow.factor)
        relative = (before.T @ gradient).tril() / power(form)
        fit(flow, dense(matrix), form=form, steps=1, batch=200, generator=generator(7))
        change = torch.linalg.solve(before, flow.factor.detach())
        step = torch.eye(n, dtype=torch.float64) - change / change.diagonal()[0]
        # the step is along the relative gradient, up to the scale of L that means nothing
        aligned = torch.eye(n, dtype=torch.float64) - min(1.0, 0.5 / float(relative.norm())) * relative
        torch.testing.assert_close(
            step, torch.eye(n) - aligned / aligned[0, 0], rtol=0, atol=1e-9, check_dtype=False
        )


def _differentiable_bound(flow: TriangularProjection, matrix: Tensor, form: Form) -> Tensor:
    from models.vde.weights import log_shrinkage

    s, log_jacobian = flow.sample(200, generator(7))
    return -power(form) * (log_shrinkage(dense(matrix), s, form) + log_jacobian).mean()


@pytest.mark.parametrize(
    "make", [DiagonalProjection, lambda n: LowRankProjection(n, 3, generator(0)), TriangularProjection]
)
def test_fits_lower_the_bound_of_what_each_parametrization_can_reach(
    make: Callable[[int], TriangularProjection],
) -> None:
    """A diagonal matrix, whose optimum every parametrization contains."""
    matrix = torch.diag(torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0, 11.0], dtype=torch.float64))
    flow = make(6)
    fit(flow, dense(matrix), steps=200, batch=128, rate=0.05, generator=generator(8))
    weights = log_weights(dense(matrix), flow, 2000, generator=generator(8, "weights"))
    assert bound(weights).value - exact(matrix).value < 0.1


def test_the_papers_flow_learns_a_small_matrix() -> None:
    matrix = gaussian(4)
    flow = CouplingFlow(4, generator(9), layers=4, bins=8, centers=6, hidden=32)
    operator = dense(matrix)
    before = bound(log_weights(operator, flow, 2000, generator=generator(9, "before"))).value
    fit(flow, operator, steps=150, batch=128, rate=1e-2, generator=generator(9, "fit"))
    weights = log_weights(operator, flow, 2000, generator=generator(9, "after"))
    truth = exact(matrix).value
    assert bound(weights).value - truth < 0.5 * (before - truth)
    found = importance(weights)
    assert abs(found.value - truth) < 5 * found.standard_error  # by chance 6e-7


def test_uneven_weights_are_refused_with_their_effective_sample_size() -> None:
    weights = log_weights(dense(definite(54, 1225.0)), None, 2000, generator=generator(10))
    with pytest.raises(FewEffectiveSamplesError, match="2000 samples are worth") as refusal:
        importance(weights)
    assert refusal.value.effective == pytest.approx(effective_samples(weights))


def test_the_square_root_form_spreads_the_weights_less() -> None:
    operator = dense(definite(12))
    sizes = {
        form: effective_samples(log_weights(operator, None, 5000, form=form, generator=generator(11)))
        for form in FORMS
    }
    assert sizes["spd"] > 2 * sizes["general"]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 intervals of 95 %: a binomial below 88 % (176) has probability 4e-5."""
    matrix = gaussian(3)
    operator, truth = dense(matrix), exact(matrix).value
    flow = FixedProjection(torch.linalg.inv(matrix) + 0.1 * torch.eye(3))
    covered = 0
    for seed in range(200):
        found = importance(log_weights(operator, flow, 500, generator=generator(seed, "cover")), seed=seed)
        covered += found.low <= truth <= found.high
    assert covered >= 176


def test_many_samples_are_resampled_in_blocks_with_the_same_width() -> None:
    flow = FixedProjection(torch.eye(3) + 0.2 * torch.randn(3, 3, generator=generator(12)))
    weights = log_weights(dense(gaussian(3)), flow, 20_000, generator=generator(12))
    found = importance(weights)
    assert (found.high - found.low) == pytest.approx(2 * 1.96 * found.standard_error, rel=0.15)


@pytest.mark.parametrize("form", FORMS)
def test_lanczos_with_full_steps_and_probes_meets_the_truth(form: Form) -> None:
    """Within 5 standard errors of 200 probes, which chance leaves with probability below 1e-5 (t with 199)."""
    matrix = matrix_of(form, 10)
    operator = dense(matrix)
    found = lanczos_log_det(operator, probes=200, steps=10, form=form, generator=generator(13))
    assert abs(found.value - exact(matrix, form).value) < 5 * found.standard_error
    assert found.matvecs == operator.matvecs == 200 * 10 * (1 if form == "spd" else 2)


def test_lanczos_ends_early_where_the_krylov_space_does() -> None:
    matrix = torch.diag(torch.tensor([2.0, 2.0, 2.0, 5.0], dtype=torch.float64))
    found = lanczos_log_det(dense(matrix), probes=5, steps=4, form="spd", generator=generator(14))
    # For a diagonal matrix every probe of signs is exact.
    assert found.value == pytest.approx(3 * math.log(2) + math.log(5), abs=1e-9)
    assert found.standard_error < 1e-9


def test_the_convolution_operator_is_its_matrix_and_its_transpose() -> None:
    kernel = torch.randn(3, 3, generator=generator(15), dtype=torch.float64)
    operator = convolution(kernel, 4, 5)
    matrix = to_matrix(operator)
    x = torch.randn(6, 20, generator=generator(16), dtype=torch.float64)
    torch.testing.assert_close(operator.apply(x), x @ matrix.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(operator.apply_transpose(x), x @ matrix, rtol=0, atol=1e-12)
    assert operator.matvecs == 20 + 6 + 6


def test_products_are_differentiated_through_the_transpose() -> None:
    matrix = gaussian(4)
    operator = dense(matrix)
    x = torch.randn(1, 4, generator=generator(17), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: product(operator, y)[0], x)[:, 0]
    torch.testing.assert_close(jacobian, matrix, rtol=0, atol=1e-14)
    gram = normal(operator)
    torch.testing.assert_close(to_matrix(gram), matrix.T @ matrix, rtol=0, atol=1e-12)


def test_the_same_generator_gives_the_same_estimate() -> None:
    def run() -> Tensor:
        flow = TriangularProjection(5)
        operator = dense(gaussian(5))
        fit(flow, operator, steps=20, batch=32, generator=generator(18))
        return log_weights(operator, flow, 100, generator=generator(19))

    assert torch.equal(run(), run())


@pytest.mark.parametrize(
    ("matrix", "form", "error", "message"),
    [
        (torch.ones(3, 3, dtype=torch.float64), "general", SingularError, "singular in float64"),
        (torch.zeros(2, 2, dtype=torch.float64), "general", SingularError, "singular"),
        (torch.ones(2, 3, dtype=torch.float64), "general", ShapeError, "square"),
        (torch.full((2, 2), math.nan, dtype=torch.float64), "general", DivergedError, "not finite"),
        (
            torch.tensor([[2.0, 1.0], [0.0, 2.0]], dtype=torch.float64),
            "spd",
            NotPositiveDefiniteError,
            "differs",
        ),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64), "spd", NotPositiveDefiniteError, "-1"),
    ],
)
def test_what_has_no_log_determinant_is_named(
    matrix: Tensor, form: Form, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        exact(matrix, form)


def test_indefinite_matrices_are_noticed_without_looking_at_the_matrix() -> None:
    operator = dense(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64))
    with pytest.raises(NotPositiveDefiniteError, match="not positive definite"):
        log_weights(operator, None, 100, form="spd", generator=generator(20))
    with pytest.raises(NotPositiveDefiniteError, match="eigenvalue -1"):
        lanczos_log_det(operator, probes=4, steps=2, form="spd", generator=generator(20))
    with pytest.raises(NotPositiveDefiniteError, match="not positive definite"):
        fit(TriangularProjection(2), operator, form="spd", generator=generator(20))


def test_work_stops_when_it_is_cancelled_and_nonsense_is_refused() -> None:
    operator, flow = dense(gaussian(3)), TriangularProjection(3)
    with pytest.raises(InterruptedError):
        fit(flow, operator, generator=generator(21), cancelled=lambda: operator.matvecs > 1000)
    assert operator.matvecs < 2000
    with pytest.raises(InterruptedError):
        log_weights(operator, flow, 10, generator=generator(21), cancelled=lambda: True)
    with pytest.raises(ConfigError, match="3 dimensions, the matrix 4"):
        fit(flow, dense(gaussian(4)), generator=generator(21))
    with pytest.raises(ConfigError, match="at least 1"):
        log_weights(operator, None, 0, generator=generator(21))
    with pytest.raises(ConfigError, match="at least 2"):
        lanczos_log_det(operator, probes=1, generator=generator(21))
