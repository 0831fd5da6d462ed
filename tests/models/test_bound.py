"""The variational bound: against closed forms for Gaussian data, and each of its terms alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.centered import LOG_TWO_PI, remove_mean
from models.core.errors import ConfigError
from models.core.random import generator
from models.edm.bound import (
    bound,
    log_interval_mass,
    log_prob_of_features,
    prior_divergence,
    standard_error,
    without_noise_of_the_noise,
)
from models.edm.features import AtomFeatures
from models.edm.process import VarianceExploding, polynomial, prior_scale
from models.edm.sizes import SizeDistribution

SIZES = SizeDistribution({3: 1, 5: 3})
PROCESSES = {"variance-exploding": VarianceExploding(0.01, 20.0), "polynomial": polynomial()}
N = 5
D = 3 * (N - 1)


def molecules(count: int, spread: float, elements: int = 1, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Random centered Gaussian molecules of five atoms."""
    source = generator(seed, "test data")
    x = spread * remove_mean(torch.randn(count, N, 3, generator=source, dtype=torch.float64))
    z = torch.randint(1, elements + 1, (count, N), generator=source)
    return list(z.numpy()), list(x.numpy())


def exact_log_prob(x: Any, spread: float) -> float:
    """log p of centered Gaussian positions and of their number."""
    square = float((np.asarray(x) ** 2).sum())
    gaussian = -0.5 * square / spread**2 - D * (math.log(spread) + 0.5 * LOG_TWO_PI)
    return gaussian + SIZES.log_prob(N)


def prior_gap(x: Any, spread: float, process: Any, type_scale: float = 0.25) -> float:
    """E over q(z_T | x) of log p_model(z_T) - log p_data(z_T): what the bound loses to its prior (one element)."""
    last = process.maximum
    model, data = prior_scale(last) ** 2, spread**2 + last**2
    square = float((np.asarray(x) ** 2).sum()) + D * last**2
    positions = -0.5 * square * (1 / model - 1 / data) - 0.5 * D * math.log(model / data)
    square = N * (type_scale**2 + last**2)
    features = -0.5 * square / model + 0.5 * N * last**2 / last**2 - 0.5 * N * math.log(model / last**2)
    return positions + features


@pytest.mark.parametrize("name", list(PROCESSES))
@pytest.mark.parametrize("spread", [1.0, 0.6, 2.0])
def test_with_the_optimal_denoiser_the_continuous_bound_is_the_log_likelihood(
    gaussian: Callable[..., Any], name: str, spread: float
) -> None:
    process = PROCESSES[name]
    denoiser = gaussian(spread, process=process)
    z, x = molecules(4, spread)
    found = bound(denoiser, SIZES, z, x, seeds=range(4), draws=100, steps=None)
    for likelihood, row in zip(found, x, strict=True):
        expected = exact_log_prob(row, spread) + prior_gap(row, spread, process)
        # Four molecules a case: false alarm below 1e-3 at 4 standard errors.
        assert abs(likelihood.value - expected) < 4 * likelihood.standard_error + 2e-3
        assert likelihood.standard_error < 1.5


@pytest.mark.parametrize("lowest", [0.03, 0.004])
def test_with_the_optimal_denoiser_the_bound_does_not_depend_on_where_the_decoder_takes_over(
    gaussian: Callable[..., Any], lowest: float
) -> None:
    process = PROCESSES["variance-exploding"]
    z, x = molecules(4, 1.0)
    found = bound(
        gaussian(1.0, process=process), SIZES, z, x, seeds=range(4), draws=100, steps=None, lowest=lowest
    )
    for likelihood, row in zip(found, x, strict=True):
        expected = exact_log_prob(row, 1.0) + prior_gap(row, 1.0, process)
        # False alarm below 1e-3 at 4 standard errors; the decoder's Gaussian costs a little at the higher level.
        assert abs(likelihood.value - expected) < 4 * likelihood.standard_error + 0.02


@pytest.mark.parametrize("options", [{"lowest": 0.0}, {"lowest": 30.0}, {"lowest": 0.001, "steps": 100}])
def test_a_lowest_level_that_does_not_fit_is_refused(
    gaussian: Callable[..., Any], options: dict[str, Any]
) -> None:
    z, x = molecules(1, 1.0)
    with pytest.raises(ConfigError, match="lowest is"):
        bound(gaussian(1.0, process=PROCESSES["variance-exploding"]), SIZES, z, x, seeds=[0], **options)


def discretization_loss(x: Any, spread: float, grid: Tensor) -> float:
    """Closed form of the diffusion term of a discrete process on Gaussian data."""
    low, level = grid[:-1], grid[1:]
    keep = spread**2 / (spread**2 + level**2)
    square = float((np.asarray(x) ** 2).sum())
    error = (1 - keep) ** 2 * square + keep**2 * level**2 * D
    return float((0.5 * (1 / low**2 - 1 / level**2) * error).sum())


@pytest.mark.parametrize("steps", [20, 1000])
@pytest.mark.parametrize("name", list(PROCESSES))
def test_the_discrete_bound_counts_every_step(gaussian: Callable[..., Any], name: str, steps: int) -> None:
    process = PROCESSES[name]
    denoiser = gaussian(1.0, process=process)
    z, x = molecules(4, 1.0)
    found = bound(denoiser, SIZES, z, x, seeds=range(10, 14), draws=100, steps=steps)
    for likelihood, row in zip(found, x, strict=True):
        expected = discretization_loss(row, 1.0, process.grid(steps))
        assert abs(-likelihood.terms["diffusion"] - expected) < 5 * likelihood.standard_error


@pytest.mark.parametrize("name", list(PROCESSES))
def test_a_bound_with_fewer_steps_is_looser_and_none_is_above_the_truth(
    gaussian: Callable[..., Any], name: str
) -> None:
    process = PROCESSES[name]
    _, x = molecules(20, 1.0)
    losses = [
        sum(discretization_loss(row, 1.0, process.grid(steps)) for row in x)
        for steps in (10, 100, 1000, 10_000)
    ]
    assert losses == sorted(losses, reverse=True)


def test_a_worse_denoiser_gives_a_lower_bound_on_average(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(40, 1.0)
    seeds = range(40)
    best = bound(gaussian(1.0), SIZES, z, x, seeds, draws=32)
    worse = bound(gaussian(1.6), SIZES, z, x, seeds, draws=32)
    difference = np.array([b.value - w.value for b, w in zip(best, worse, strict=True)])
    assert difference.mean() > 3 * difference.std() / math.sqrt(len(difference)) > 0


def test_with_several_elements_the_bound_is_the_log_likelihood(gaussian: Callable[..., Any]) -> None:
    """The optimal feature estimate is the softmax posterior mean; with it the elements' bound is tight too."""
    frequencies = (0.5, 0.3, 0.2)
    process = VarianceExploding(0.01, 20.0)
    denoiser = gaussian(1.0, frequencies, process=process)
    z, x = molecules(10, 1.0, elements=3)
    found = bound(denoiser, SIZES, z, x, seeds=range(10), draws=150)
    pulls = []
    for likelihood, numbers, row in zip(found, z, x, strict=True):
        elements = sum(math.log(frequencies[int(number) - 1]) for number in numbers)
        expected = exact_log_prob(row, 1.0) + elements
        # The prior's mismatch is below 0.02 nats here: 3N features of variance 0.25^2 against 1, under noise of 20.
        assert abs(likelihood.value - expected) < 4.5 * likelihood.standard_error + 0.03
        pulls.append((likelihood.value - expected) / likelihood.standard_error)
    assert abs(float(np.mean(pulls))) < 4 / math.sqrt(10)


def test_the_density_is_per_cubic_angstrom(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(3, 1.0)
    scaled = [1.7 * row for row in x]
    plain = bound(gaussian(1.0), SIZES, z, x, range(3), draws=8)
    stretched = bound(gaussian(1.0, coordinate_scale=1.7), SIZES, z, scaled, range(3), draws=8)
    for a, b in zip(plain, stretched, strict=True):
        assert b.value == pytest.approx(a.value - D * math.log(1.7), abs=1e-9)


def test_terms_add_up_and_the_size_counts(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(2, 1.0)
    for likelihood in bound(gaussian(1.0), SIZES, z, x, range(2), draws=4):
        assert sum(likelihood.terms.values()) == pytest.approx(likelihood.value, abs=1e-9)
        assert likelihood.terms["size"] == pytest.approx(math.log(3 / 4))
        assert likelihood.kind == "lower_bound"
        assert likelihood.draws == 4


def test_where_a_molecule_stands_and_how_it_is_turned_do_not_matter(
    edm: Any, rotation: Callable[..., Tensor], source: torch.Generator
) -> None:
    model = edm.double().eval().requires_grad_(False)
    z, x = [np.array([6, 1, 1, 8])], [np.random.default_rng(0).normal(size=(4, 3))]
    here = model.bound(z, x, [1], draws=4)[0]
    there = model.bound(z, [x[0] + np.array([5.0, 1.0, -3.0])], [1], draws=4)[0]
    assert there.value == pytest.approx(here.value, abs=1e-6)


def test_scores_do_not_depend_on_the_batch(edm: Any) -> None:
    model = edm.eval().requires_grad_(False)
    rng = np.random.default_rng(1)
    sizes = [4, 6, 4, 3, 4]
    z = [rng.choice([1, 6, 7, 8], n) for n in sizes]
    x = [rng.normal(size=(n, 3)) for n in sizes]
    together = model.bound(z, x, range(5), draws=4)
    for k in range(5):
        alone = model.bound(z[k : k + 1], x[k : k + 1], [k], draws=4)[0]
        assert alone.value == pytest.approx(together[k].value, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("last", [0.7, 3.0])
def test_the_prior_divergence_is_the_numeric_one(last: float) -> None:
    """Sampled: mean of log q - log p over q, in coordinates of an orthonormal basis."""
    x = remove_mean(torch.randn(1, 3, 3, dtype=torch.float64, generator=generator(0)))
    h = torch.randn(1, 3, 2, dtype=torch.float64, generator=generator(1))
    scale, count = 1.2 * last, 200_000
    source = generator(2)
    flat = torch.cat([x.flatten(1), h.flatten(1)], 1)
    noise_x = remove_mean(torch.randn(count, 3, 3, dtype=torch.float64, generator=source)).flatten(1)
    noise_h = torch.randn(count, 6, dtype=torch.float64, generator=source)
    noise = torch.cat([noise_x, noise_h], 1)
    z = flat + last * noise
    dimensions = 6 + 6
    log_q = -0.5 * noise.square().sum(1) - dimensions * math.log(last)
    log_p = -0.5 * (z / scale).square().sum(1) - dimensions * math.log(scale)
    samples = log_q - log_p
    expected = float(samples.mean())
    error = float(samples.std()) / math.sqrt(count)
    assert abs(float(prior_divergence(x, h, last, scale)[0]) - expected) < 4.5 * error


def test_the_prior_divergence_of_the_prior_itself_is_zero() -> None:
    zero = torch.zeros(2, 4, 3, dtype=torch.float64)
    assert prior_divergence(zero, zero, 2.0, 2.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("level", [0.004, 0.05, 0.3])
def test_the_decoder_of_elements_is_a_distribution(level: float) -> None:
    features = AtomFeatures((1, 6, 8))
    noisy = features.encode(torch.tensor([[1, 6, 8, 6]])).double()
    noisy = noisy + level * torch.randn(noisy.shape, generator=generator(3), dtype=torch.float64)
    for atom in range(4):
        total = 0.0
        for number in (1, 6, 8):
            h = features.encode(torch.tensor([[number]])).double()
            total += float(log_prob_of_features(features, noisy[:, atom : atom + 1], h, level).exp())
        assert total == pytest.approx(1.0, abs=1e-9)


def test_the_decoder_of_charges_is_a_distribution() -> None:
    features = AtomFeatures((6,), charge_scale=0.1)
    noisy = torch.tensor([[[0.25, 0.63]]], dtype=torch.float64)
    total = 0.0
    for charge in range(-5, 20):
        h = torch.tensor([[[0.25, 0.1 * charge]]], dtype=torch.float64)
        total += float(log_prob_of_features(features, noisy, h, 0.04).exp())
    assert total == pytest.approx(1.0, abs=1e-6)


def test_masses_of_neighboring_intervals_add_up() -> None:
    centers = torch.arange(-30, 31, dtype=torch.float64)
    assert float(log_interval_mass(centers + 0.3, 2.0).exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_the_standard_error_covers_the_truth_at_its_nominal_rate(gaussian: Callable[..., Any]) -> None:
    """600 scores of one molecule: about 95 % lie within 1.96 standard errors of the exact value."""
    process = VarianceExploding(0.01, 20.0)
    denoiser = gaussian(1.0, process=process)
    z, x = molecules(1, 1.0)
    found = bound(denoiser, SIZES, z * 600, x * 600, range(600), draws=32)
    expected = exact_log_prob(x[0], 1.0) + prior_gap(x[0], 1.0, process)
    inside = np.mean([abs(f.value - expected) < 1.96 * f.standard_error for f in found])
    assert 0.91 < inside < 0.99
    values = np.array([f.value for f in found])
    stated = math.sqrt(np.mean([f.standard_error**2 for f in found]))
    assert 0.93 < stated / values.std() < 1.2


@pytest.mark.parametrize("draws", [2, 4, 64])
def test_the_standard_error_is_not_too_small_when_the_noise_is_all_in_one_stratum(draws: int) -> None:
    source = generator(5)
    values = torch.zeros(4000, draws, dtype=torch.float64)
    values[:, 0] = torch.randn(4000, generator=source, dtype=torch.float64)
    stated = standard_error(values).square().mean().sqrt()
    assert float(stated / values.mean(1).std()) > 0.85


def test_one_draw_has_no_standard_error(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(1, 1.0)
    assert bound(gaussian(1.0), SIZES, z, x, [0], draws=1)[0].standard_error == math.inf


def test_an_unknown_size_has_no_likelihood(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(1, 1.0)
    assert bound(gaussian(1.0), SizeDistribution({3: 1}), z, x, [0], draws=2)[0].value == -math.inf


def test_cancelling_stops_between_calls(gaussian: Callable[..., Any]) -> None:
    denoiser = gaussian(1.0)
    z, x = molecules(1, 1.0)
    with pytest.raises(InterruptedError, match="cancelled"):
        bound(denoiser, SIZES, z, x, [0], draws=100, cancelled=lambda: denoiser.calls >= 6)
    assert denoiser.calls == 6


def test_the_control_variate_keeps_the_mean_and_lowers_the_spread() -> None:
    source = generator(6)
    count, draws = 5000, 8
    eps = torch.randn(count, draws, D, generator=source, dtype=torch.float64)
    level = torch.linspace(0.1, 0.2, draws, dtype=torch.float64).expand(count, draws)
    noise = level.square() * eps.square().sum(-1)
    error = 0.7 * noise + 0.05
    steadied = without_noise_of_the_noise(error, noise, level, D)
    expected = 0.7 * level[0].square() * D + 0.05
    spread = steadied.std(0)
    assert bool(((steadied.mean(0) - expected).abs() < 5 * spread / math.sqrt(count)).all())
    assert bool((spread < 0.65 * error.std(0)).all())


def test_no_draws_are_refused(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(1, 1.0)
    with pytest.raises(ConfigError, match="draws is 0"):
        bound(gaussian(1.0), SIZES, z, x, [0], draws=0)
