"""Divergences against autograd's whole Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from models.core.centered import remove_mean
from models.core.divergence import centered_directions, exact_divergence, hutchinson
from models.core.random import generator
from models.edm.flow import centered_state, flow_velocity
from models.edm.model import EDM


@pytest.fixture(params=["data", "noise"])
def velocity(request: pytest.FixtureRequest, make_edm: Callable[..., EDM]) -> Callable[[Tensor], Tensor]:
    """The flow of a small float64 model at a middling noise level."""
    return flow_velocity(make_edm(request.param).double().requires_grad_(False).denoiser, 0.7)


@pytest.fixture
def state(velocity: Callable[[Tensor], Tensor], request: pytest.FixtureRequest) -> Tensor:
    channels = 5 if "noise" in request.node.callspec.id else 4
    return centered_state(torch.randn(3, 4, 3 + channels, generator=generator(4), dtype=torch.float64))


def whole_trace(velocity: Callable[[Tensor], Tensor], state: Tensor) -> Tensor:
    """Trace of each molecule's Jacobian within centered positions and free features."""
    out = []
    for row in state:
        flat = jacrev(lambda s: velocity(s[None])[0])(row)
        k = row.numel()
        jacobian = flat.reshape(k, k)
        basis = centered_directions(row.shape[0], 3, row.shape[1] - 3, dtype=row.dtype).flatten(1)
        out.append((basis @ jacobian @ basis.T).trace())
    return torch.stack(out)


def test_the_exact_divergence_is_the_trace_of_the_jacobian(
    velocity: Callable[[Tensor], Tensor], state: Tensor
) -> None:
    directions = centered_directions(4, 3, state.shape[2] - 3, dtype=state.dtype)
    value, divergence = exact_divergence(velocity, state, directions)
    torch.testing.assert_close(value, velocity(state))
    torch.testing.assert_close(divergence, whole_trace(velocity, state), rtol=1e-9, atol=1e-9)


def test_the_mean_of_hutchinsons_estimates_is_the_divergence(
    velocity: Callable[[Tensor], Tensor], state: Tensor
) -> None:
    expected = whole_trace(velocity, state)
    source, draws = generator(9), 400
    many = state.repeat_interleave(draws, 0)
    probe = centered_state(torch.randn(many.shape, generator=source, dtype=many.dtype).sign())
    value, estimate = hutchinson(velocity, many, probe)
    torch.testing.assert_close(value[::draws], velocity(state))
    estimates = estimate.view(len(state), draws)
    error = estimates.std(1) / math.sqrt(draws)
    assert bool(((estimates.mean(1) - expected).abs() < 4.5 * error + 1e-9).all())  # false alarm below 1e-4


def test_directions_count_the_dimensions() -> None:
    directions = centered_directions(5, 3, 2, dtype=torch.float64)
    assert directions.shape == (3 * 4 + 2 * 5, 5, 5)
    flat = directions.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(22, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(remove_mean(directions[..., :3]), directions[..., :3], atol=1e-12, rtol=0)
