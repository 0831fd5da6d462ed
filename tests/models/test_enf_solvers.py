"""Runge-Kutta with steps of their own for every row, and the quadrature of the exact trace, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.ode import Solver, edges, solve
from models.enf.quadrature import clenshaw_curtis

RATES = torch.tensor([0.3, 1.0, 4.0, 40.0], dtype=torch.float64)


def decay(t: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """y' = -r (y - cos t): rows of very different stiffness; the integral is that of cos t."""
    r = RATES[rows][:, None]
    return -r * (y - torch.cos(t)[:, None]), torch.cos(t)[:, None]


def exact(y: Tensor, end: float) -> Tensor:
    """The solution at `end` from `y` at 0."""
    r = RATES[:, None]
    steady = lambda t: r / (1 + r**2) * (r * math.cos(t) + math.sin(t))  # noqa: E731
    return steady(end) + (y - steady(0.0)) * torch.exp(-r * end)


START = torch.ones(4, 2, dtype=torch.float64) * torch.tensor([1.0, -2.0], dtype=torch.float64)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_adaptive_solution_is_as_good_as_its_tolerance(tolerance: float) -> None:
    found = solve(decay, START, 0.0, 2.0, Solver(tolerance=tolerance))
    assert float((found.state - exact(START, 2.0)).abs().max()) < 20 * tolerance
    assert float((found.integrals - math.sin(2.0)).abs().max()) < 20 * tolerance


def test_a_row_takes_its_own_steps_whatever_its_neighbors() -> None:
    together = solve(decay, START, 0.0, 2.0, Solver(tolerance=1e-5))
    assert int(together.calls[3]) > 2 * int(together.calls[0])
    for k in range(4):

        def own(t: Tensor, y: Tensor, rows: Tensor, k: int = k) -> tuple[Tensor, Tensor]:
            return decay(t, y, rows + k)

        alone = solve(own, START[k : k + 1], 0.0, 2.0, Solver(tolerance=1e-5))
        assert torch.equal(alone.state[0], together.state[k])
        assert torch.equal(alone.calls[0], together.calls[k])


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("rk4", 4), ("dopri5", 5)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(method: str, order: int) -> None:
    errors = []
    for steps in (32, 64):
        found = solve(decay, START, 0.0, 1.0, Solver(method, steps=steps))  # type: ignore[arg-type]
        errors.append(float((found.state - exact(START, 1.0))[:3].abs().max()))
        assert found.calls.tolist() == [Solver(method, steps=steps).calls()] * 4  # type: ignore[arg-type]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.5)


def test_refined_steps_are_smaller_near_zero_in_both_directions() -> None:
    forth, back = edges(0.0, 1.0, 8, 0.05), edges(1.0, 0.0, 8, 0.05)
    assert forth == pytest.approx(back[::-1])
    widths = torch.tensor(forth).diff()
    assert bool((widths.diff() > 0).all())


def test_there_and_back_is_the_identity() -> None:
    there = solve(decay, START[:3], 0.0, 1.0, Solver(tolerance=1e-10))
    back = solve(decay, there.state, 1.0, 0.0, Solver(tolerance=1e-10))
    torch.testing.assert_close(back.state, START[:3], rtol=0, atol=1e-7)


def test_a_row_that_needs_too_many_calls_ends_as_lost_and_spoils_only_itself() -> None:
    def shake(t: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        fast = torch.where(rows == 0, 1e4, 1.0)[:, None]
        return fast * torch.cos(fast * t[:, None]) * y, y.new_zeros(len(y), 0)

    found = solve(shake, START, 0.0, 1.0, Solver(tolerance=1e-7, most_calls=600))
    assert bool(torch.isnan(found.state[0]).all())
    torch.testing.assert_close(found.state[1:], START[1:] * math.exp(math.sin(1)), rtol=1e-5, atol=0)


def test_numbers_that_are_lost_do_not_hold_up_the_others() -> None:
    def lost(t: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where((rows == 0)[:, None], torch.full_like(y, math.nan), -y), y.new_zeros(len(y), 0)

    found = solve(lost, torch.ones(2, 1, dtype=torch.float64), 0.0, 1.0, Solver(tolerance=1e-8))
    assert not bool(torch.isfinite(found.state[0]).any())
    assert float(found.state[1, 0]) == pytest.approx(math.exp(-1), abs=1e-7)


@pytest.mark.parametrize("intervals", [4, 8, 16])
def test_the_quadrature_is_exact_for_polynomials(intervals: int) -> None:
    nodes, weights = clenshaw_curtis(intervals)
    for degree in range(intervals + 1):
        assert float((weights * nodes**degree).sum()) == pytest.approx(1 / (degree + 1), abs=1e-13)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, "either"),
        ({"tolerance": 1e-3, "steps": 3}, "either"),
        ({"tolerance": -1.0}, "positive"),
        ({"method": "heun", "tolerance": 1e-3}, "dopri5"),
        ({"method": "leap", "steps": 3}, "leap"),
        ({"steps": 0}, "at least 1"),
        ({"tolerance": 1e-3, "refine": 0.1}, "refine"),
    ],
)
def test_a_solver_that_makes_no_sense_says_why(options: dict[str, object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        Solver(**options)  # type: ignore[arg-type]
