"""Spherical flows: inverses, Jacobians in the tangent spaces, densities that integrate to one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from models.core.errors import ConfigError, ShapeError
from models.core.random import generator
from models.vde import sphere
from models.vde.circle import CircularSpline, Moebius
from models.vde.coupling import CouplingFlow
from models.vde.flows import Composition, SphericalFlow
from models.vde.projective import (
    DiagonalProjection,
    FixedProjection,
    LowRankProjection,
    TriangularProjection,
)
from models.vde.splines import Spline


def stirred(flow: SphericalFlow, seed: int = 5) -> SphericalFlow:
    """The flow far from where it starts."""
    source = generator(seed, "stir")
    with torch.no_grad():
        for value in flow.parameters():
            value.add_(0.25 * torch.randn(value.shape, generator=source, dtype=value.dtype))
        if isinstance(flow, TriangularProjection):
            flow.factor.diagonal().abs_()
    return flow.requires_grad_(False)


def coupling(size: int, circle: str) -> SphericalFlow:
    return CouplingFlow(
        size, generator(size), layers=4, circle=circle, centers=4, bins=5, hidden=16  # type: ignore[arg-type]
    )  # fmt: skip


FLOWS: dict[str, Callable[[int], SphericalFlow]] = {
    "moebius": lambda n: coupling(n, "moebius"),
    "circular spline": lambda n: coupling(n, "spline"),
    "diagonal": DiagonalProjection,
    "low rank": lambda n: LowRankProjection(n, max(1, n // 2), generator(n)),
    "triangular": TriangularProjection,
    "fixed": lambda n: FixedProjection(torch.eye(n) + 0.3 * torch.randn(n, n, generator=generator(n))),
    "composition": lambda n: Composition([coupling(n, "moebius"), stirred(TriangularProjection(n))]),
}


@pytest.fixture(params=FLOWS)
def make(request: pytest.FixtureRequest) -> Callable[[int], SphericalFlow]:
    def build(n: int) -> SphericalFlow:
        with torch.random.fork_rng():
            torch.manual_seed(n)  # the networks' first weights, which torch draws from its global source
            return stirred(FLOWS[request.param](n))

    return build


def tangent_log_det(function: Callable[[Tensor], Tensor], point: Tensor) -> float:
    """log|det| of the Jacobian between the tangent spaces, by autograd."""
    jacobian = jacrev(function)(point)
    image = function(point)
    matrix = sphere.tangent_basis(image).T @ jacobian @ sphere.tangent_basis(point)
    return float(torch.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_log_jacobian_is_autograds_between_the_tangent_spaces(
    make: Callable[[int], SphericalFlow], n: int
) -> None:
    flow = make(n)
    points = sphere.uniform(4, n, generator(1))
    found = flow(points)[1]
    for point, value in zip(points, found.tolist(), strict=True):
        assert value == pytest.approx(tangent_log_det(lambda x: flow(x[None])[0][0], point), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 40])
def test_the_inverse_brings_every_point_back(make: Callable[[int], SphericalFlow], n: int) -> None:
    flow = make(n)
    points = sphere.uniform(50, n, generator(2))
    images, there = flow(points)
    back, again = flow.inverse(images)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(back, points, rtol=0, atol=1e-9)
    torch.testing.assert_close(again, -there, rtol=0, atol=1e-8)


def test_densities_on_the_circle_integrate_to_one(make: Callable[[int], SphericalFlow]) -> None:
    flow = make(2)
    # The rule of equal weights is exact to rounding for smooth periodic functions; splines have kinks.
    angle = 2 * math.pi * (torch.arange(8_000, dtype=torch.float64) + 0.5) / 8_000
    density = flow.log_prob(torch.stack([angle.cos(), angle.sin()], 1)).exp()
    assert float(density.mean()) * 2 * math.pi == pytest.approx(1, abs=1e-5)


def test_densities_on_the_sphere_integrate_to_one(make: Callable[[int], SphericalFlow]) -> None:
    flow = make(3)
    # Area is d(height) d(angle): Gauss-Legendre in the height, equal weights in the angle.
    nodes, weights = _gauss_legendre(200)
    angle = 2 * math.pi * (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    height, turn = torch.meshgrid(nodes, angle, indexing="ij")
    radius = (1 - height.square()).sqrt()
    points = torch.stack([radius * turn.cos(), radius * turn.sin(), height], -1).reshape(-1, 3)
    density = flow.log_prob(points).exp().reshape(200, 200)
    integral = float((weights @ density).sum()) * 2 * math.pi / 200
    assert integral == pytest.approx(1, abs=5e-4)


def _gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Golub and Welsch: nodes are eigenvalues of the recursion's matrix."""
    k = torch.arange(1, n, dtype=torch.float64)
    beta = k / (4 * k.square() - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beta, 1) + torch.diag(beta, -1))
    return nodes, 2 * vectors[0].square()


@pytest.mark.parametrize("n", [4, 5, 6])
def test_densities_in_more_dimensions_integrate_to_one_by_their_mean(
    make: Callable[[int], SphericalFlow], n: int
) -> None:
    """The mean of the density over uniform points, times the area, is one.

    Each is a z-test at 5 standard errors of seeded samples: a correct flow fails by chance with probability
    6e-7 if the mean is normal; the three dimensions and seven flows together less than 1.3e-5.
    """
    flow = make(n)
    ratio = (flow.log_prob(sphere.uniform(20_000, n, generator(n, "mean"))) + sphere.log_area(n)).exp()
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert error < 0.1  # else the test could not fail
    assert abs(float(ratio.mean()) - 1) < 5 * error + 1e-12


def test_samples_follow_the_density_they_claim(make: Callable[[int], SphericalFlow]) -> None:
    flow = make(5)
    s, log_jacobian = flow.sample(20, generator(3))
    torch.testing.assert_close(flow.log_prob(s), -log_jacobian - sphere.log_area(5), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "fixed"])
def test_gradients_reach_every_parameter(name: str) -> None:
    flow = stirred(FLOWS[name](5)).requires_grad_(True)
    s, log_jacobian = flow.sample(64, generator(4))
    weights = torch.randn(5, generator=generator(5), dtype=torch.float64)
    (log_jacobian.sum() + (s @ weights).square().sum()).backward()
    for place, value in flow.named_parameters():
        assert value.grad is not None and bool(value.grad.isfinite().all()), place
        assert bool(value.grad.any()), place


def test_unfolding_to_the_cylinder_and_back_loses_nothing_in_many_dimensions() -> None:
    for n in (2, 3, 64, 512):
        s = sphere.uniform(1000, n, generator(n))
        angle, heights, there = sphere.to_cylinder(s)
        back, again = sphere.from_cylinder(angle, heights)
        torch.testing.assert_close(back, s, rtol=0, atol=1e-12)
        torch.testing.assert_close(again, there, rtol=1e-9, atol=1e-9)


def test_the_cylinder_has_the_area_of_the_sphere() -> None:
    """On S^3 the heights h_3 and h_4 carry the weight (1 - h_4^2)^(1/2): its integral is 2 pi^2."""
    nodes, weights = _gauss_legendre(200)
    h3, h4 = torch.meshgrid(nodes, nodes, indexing="ij")
    heights = torch.stack([h3.flatten(), h4.flatten()], 1)
    logs = sphere.from_cylinder(torch.zeros(len(heights), dtype=torch.float64), heights)[1]
    area = 2 * math.pi * float(weights @ logs.exp().reshape(200, 200) @ weights)
    assert area == pytest.approx(math.exp(sphere.log_area(4)), rel=1e-6)


@pytest.mark.parametrize("kind", [Moebius, CircularSpline])
def test_maps_of_the_circle_go_round_once_and_come_back(kind: type[Moebius | CircularSpline]) -> None:
    values = torch.randn(1, kind.parameters(6), generator=generator(8), dtype=torch.float64)
    angle = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)[:-1]
    turn = kind.from_parameters(values.expand(len(angle), -1))
    moved, slope = turn.forward(angle)
    back, slope_back = turn.inverse(moved)
    steps = (moved.roll(-1) - moved).remainder(2 * math.pi)
    assert float(steps.sum()) == pytest.approx(2 * math.pi, abs=1e-9)  # one turn, forwards
    gap = (back - angle + math.pi).remainder(2 * math.pi) - math.pi
    assert float(gap.abs().max()) < 1e-9
    torch.testing.assert_close(slope_back, -slope, rtol=0, atol=1e-8)


def test_splines_keep_their_interval_and_have_free_slopes_at_its_ends() -> None:
    values = torch.randn(3, Spline.parameters(6), generator=generator(9), dtype=torch.float64)
    spline = Spline.from_parameters(values)
    x = torch.tensor([[-1 + 1e-12] * 3, [1 - 1e-12] * 3], dtype=torch.float64)
    y, slopes = spline.forward(x)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-9)
    assert bool((slopes.abs() > 0.01).all())  # zuko's own are 0 there


@pytest.mark.parametrize("kind", [Moebius, CircularSpline])
def test_parameters_of_zero_are_the_identity(kind: type[Moebius | CircularSpline]) -> None:
    angle = torch.linspace(0.1, 6.1, 50, dtype=torch.float64)
    moved, slope = kind.from_parameters(torch.zeros(50, kind.parameters(4), dtype=torch.float64)).forward(
        angle
    )
    torch.testing.assert_close(moved, angle, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)


def test_what_cannot_be_a_flow_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        TriangularProjection(1)
    with pytest.raises(ConfigError, match="rank 9"):
        LowRankProjection(4, 9, generator(0))
    with pytest.raises(ConfigError, match="one sphere"):
        Composition([TriangularProjection(3), TriangularProjection(4)])
    with pytest.raises(ShapeError, match=r"\[points, 3\]"):
        TriangularProjection(3).log_prob(torch.zeros(2, 4, dtype=torch.float64))
