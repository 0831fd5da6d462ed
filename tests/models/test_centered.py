"""Gaussians on the subspace of zero center of mass."""

from __future__ import annotations

import math

import pytest
import torch

from models.core.centered import (
    centered_normal,
    centered_normal_log_prob,
    degrees_of_freedom,
    remove_mean,
)
from models.core.divergence import centered_directions
from models.core.errors import ShapeError
from models.core.random import generator, molecule_seed


def basis(n: int) -> torch.Tensor:
    """An orthonormal basis of the vectors of length n whose mean is zero, `[n - 1, n]`."""
    return centered_directions(n, 1, 0, dtype=torch.float64)[..., 0]


@pytest.mark.parametrize("n", [2, 3, 8, 29])
def test_the_centered_basis_is_orthonormal_and_centered(n: int) -> None:
    rows = basis(n)
    assert rows.shape == (n - 1, n)
    torch.testing.assert_close(rows @ rows.T, torch.eye(n - 1, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(rows.sum(1), torch.zeros(n - 1, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("n", [2, 5, 18])
def test_the_density_is_that_of_the_full_gaussian_in_orthonormal_coordinates(n: int, scale: float) -> None:
    x = remove_mean(torch.randn(6, n, 3, dtype=torch.float64, generator=generator(1)))
    coordinates = (basis(n) @ x).flatten(1)
    assert coordinates.shape[1] == degrees_of_freedom(n)
    expected = (
        torch.distributions.Normal(torch.zeros((), dtype=torch.float64), scale).log_prob(coordinates).sum(1)
    )
    torch.testing.assert_close(centered_normal_log_prob(x, scale), expected, rtol=1e-12, atol=1e-10)


def test_the_density_integrates_to_one() -> None:
    """Three points on a line: a plane of two dimensions, integrated by the trapezium rule."""
    grid = torch.linspace(-9, 9, 361, dtype=torch.float64)
    u, v = torch.meshgrid(grid, grid, indexing="ij")
    rows = basis(3)
    points = (u[..., None] * rows[0] + v[..., None] * rows[1])[..., None]
    mass = centered_normal_log_prob(points, 1.3).exp().sum() * float(grid[1] - grid[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=1e-9)


def test_noise_is_centered_with_the_covariance_of_a_projection() -> None:
    n, count = 4, 20_000
    sources = [generator(molecule_seed(5, k)) for k in range(count)]
    x = centered_normal(sources, n, dtype=torch.float64)
    assert float(x.mean(1).abs().max()) < 1e-14
    covariance = torch.einsum("kic,kjc->ij", x, x) / (3 * count)
    expected = torch.eye(n, dtype=torch.float64) - 1 / n
    # An entry has a standard deviation of at most 1 / sqrt(3 count): five of them, false alarm below 1e-5.
    assert float((covariance - expected).abs().max()) < 5 / math.sqrt(3 * count)


def test_the_squared_length_of_noise_counts_three_dimensions_less() -> None:
    n, count = 6, 20_000
    x = centered_normal([generator(k) for k in range(count)], n, dtype=torch.float64)
    d = degrees_of_freedom(n)
    assert d == 15
    mean = float(x.square().sum((1, 2)).mean())
    assert abs(mean - d) < 5 * math.sqrt(2 * d / count)


def test_a_mask_leaves_padding_out_of_the_mean() -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator(2))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)[..., None]
    out = remove_mean(x, mask)
    torch.testing.assert_close(out[0, :3], remove_mean(x[0, :3]))
    torch.testing.assert_close(out[1], remove_mean(x[1]))
    assert not bool(out[0, 3:].any())


def test_a_density_of_something_that_is_no_point_set_is_refused() -> None:
    with pytest.raises(ShapeError, match="points, dimensions"):
        centered_normal_log_prob(torch.zeros(3))
