"""Samplers on a Gaussian problem whose every step is known, and the promise of one molecule per seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.random import molecule_seed
from models.edm.model import EDM
from models.edm.process import VarianceExploding, polynomial
from models.edm.samplers import SAMPLERS, falling_levels, make_sampler
from models.edm.sampling import SamplingRun
from models.edm.sizes import SizeDistribution

SPREAD = 1.0
PROCESS = VarianceExploding(0.01, 20.0)


def run_of(
    denoiser: Any, count: int, sampler: str, steps: int, churn: float = 0.5, n: int = 5
) -> SamplingRun:
    return SamplingRun(denoiser, [n] * count, range(count), sampler=sampler, steps=steps, churn=churn)


def finish(run: SamplingRun) -> Tensor:
    """Positions at the end, `[count, n, 3]`."""
    while not run.done:
        run.step()
    return torch.from_numpy(np.stack([sample.positions for sample in run.result()]))


def flow_error(denoiser: Any, sampler: str, steps: int) -> float:
    """Distance from the closed form of the flow down to the last level, and an Euler step from there to zero."""
    run = run_of(denoiser, 8, sampler, steps, churn=0.0)
    start = torch.cat([lanes.x for lanes in run.lanes])
    high, low = float(run.lanes[0].grid[0, 0]), PROCESS.minimum
    exact = start * math.sqrt((SPREAD**2 + low**2) / (SPREAD**2 + high**2)) * denoiser.shrink(low)
    return float((finish(run) - exact).norm() / exact.norm())


@pytest.mark.parametrize(("sampler", "order"), [("deterministic", 1), ("heun", 2)])
def test_the_order_of_convergence(gaussian: Callable[..., Any], sampler: str, order: int) -> None:
    denoiser = gaussian(SPREAD, process=PROCESS)
    levels = [40, 80, 160, 320]
    errors = [flow_error(denoiser, sampler, 2 * k - 1 if sampler == "heun" else k) for k in levels]
    slope = -np.polyfit(np.log([k - 1 for k in levels]), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("churn", [0.0, 0.8, 2.5])
@pytest.mark.parametrize("focus", [None, 0.1])
def test_no_call_is_wasted_and_calls_are_twice_as_dense_at_the_focus(
    gaussian: Callable[..., Any], churn: float, focus: float | None
) -> None:
    process = VarianceExploding(0.001, 20.0, start=4.0, focus=focus)
    grid = falling_levels(gaussian(SPREAD, process=process), 2000, churn)
    calls = torch.minimum(grid[:-1] * (1 + churn), grid[0])
    assert float(calls[0]) == 4.0
    assert float(calls[-1]) == pytest.approx(0.001 * (1 + churn))
    ratio = (calls[:-1] / calls[1:]).log()  # the distance between neighbors in log s
    assert float(ratio.min()) > 0
    closest, widest = float(ratio[(calls[1:] - 0.1).abs().argmin()]), float(ratio.max())
    assert widest / closest == pytest.approx(1.0 if focus is None else 2.0, rel=0.02)


def variance_of_steps(denoiser: Any, sampler: str, grid: Tensor, churn: float) -> float:
    """The exact variance that a sampler's linear steps leave, per dimension."""
    variance = float(grid[0]) ** 2 + 1
    for level, after in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        raised = min(level * (1 + churn), float(grid[0])) if sampler == "stochastic" else level
        variance += raised**2 - level**2
        shrink = denoiser.shrink(raised)
        if sampler == "stochastic":
            keep, spread = after / raised, 0.0
        else:
            keep = (after / raised) ** 2
            spread = after**2 * (1 - keep) if after else raised**2
        variance = (shrink + keep * (1 - shrink)) ** 2 * variance + spread
    return variance


@pytest.mark.parametrize(("sampler", "churn"), [("stochastic", 0.2), ("stochastic", 0.8), ("ancestral", 0.0)])
@pytest.mark.parametrize("process", ["variance-exploding", "polynomial"])
def test_random_samplers_leave_the_right_variance(
    gaussian: Callable[..., Any], sampler: str, churn: float, process: str
) -> None:
    denoiser = gaussian(SPREAD, process=PROCESS if process == "variance-exploding" else polynomial(200))
    run = run_of(denoiser, 400, sampler, 200, churn)
    expected = variance_of_steps(denoiser, sampler, run.lanes[0].grid[0], churn)
    d = 400 * 12
    found = float(finish(run).square().sum()) / d
    # A mean of d squares has a relative standard deviation of sqrt(2 / d); false alarm below 1e-4.
    assert abs(found / expected - 1) < 4 * math.sqrt(2 / d)
    # Euler's step from a raised level contracts a little, the more so the higher it was raised; the posterior's not.
    shortfall = {0.0: 0.06, 0.2: 0.12, 0.8: 0.3}[churn]
    assert SPREAD**2 * (1 - shortfall) < expected < SPREAD**2 * 1.02


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_elements_come_out_with_their_frequencies(gaussian: Callable[..., Any], sampler: str) -> None:
    frequencies = (0.6, 0.3, 0.1)
    denoiser = gaussian(SPREAD, frequencies, process=PROCESS)
    run = run_of(denoiser, 300, sampler, 120, churn=0.3)
    while not run.done:
        run.step()
    numbers = np.concatenate([sample.numbers for sample in run.result()])
    counts = np.array([(numbers == k + 1).sum() for k in range(3)])
    expected = np.array(frequencies) * len(numbers)
    # Chi-square with two degrees of freedom: above 18.4 once in 10,000; the steps' own error adds a little.
    assert ((counts - expected) ** 2 / expected).sum() < 18.4 + 6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_centers_of_mass_stay_at_zero_all_the_way(edm: EDM, sampler: str) -> None:
    run = edm.requires_grad_(False).sampling([3, 6, 6, 9], [1, 2, 3, 4], sampler=sampler, steps=10, churn=0.6)
    while not run.done:
        run.step()
        for lanes in run.lanes:
            size = float(lanes.x.abs().max()) + 1
            assert float(lanes.x.mean(1).abs().max()) < 1e-9 * size
        for numbers, positions in run.frame():
            assert np.abs(positions.mean(0)).max() < 1e-9 * (np.abs(positions).max() + 1)
            assert set(numbers.tolist()) <= set(edm.elements)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("parametrization", ["data", "noise"])
def test_a_molecule_depends_on_its_seed_and_not_on_its_batch(
    make_edm: Callable[..., EDM], sampler: str, parametrization: str
) -> None:
    model = make_edm(parametrization).requires_grad_(False)
    sizes = [6, 4, 6, 9, 6, 3, 4, 6]
    seeds = [molecule_seed(7, k) for k in range(8)]
    options: dict[str, Any] = {"sampler": sampler, "steps": 20, "churn": 0.6}
    together = finished(model.sampling(sizes, seeds, **options))
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    shuffled = finished(model.sampling([sizes[k] for k in order], [seeds[k] for k in order], **options))
    for place, k in enumerate(order):
        alone = finished(model.sampling(sizes[k : k + 1], seeds[k : k + 1], **options))[0]
        for other in (alone, shuffled[place]):
            assert other.numbers.tolist() == together[k].numbers.tolist()
            # 1e-5 Angstrom for molecules of up to 10; an untrained network may spread its atoms farther.
            size = max(1.0, np.abs(other.positions).max() / 10)
            assert np.abs(other.positions - together[k].positions).max() < 1e-5 * size


def finished(run: SamplingRun) -> list[Any]:
    while not run.done:
        run.step()
    return run.result()


def test_different_seeds_give_different_molecules(edm: EDM) -> None:
    a, b = finished(edm.sampling([5, 5], [1, 2], steps=6))
    assert np.abs(a.positions - b.positions).max() > 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_calls_are_counted_honestly(gaussian: Callable[..., Any], sampler: str) -> None:
    for steps in (2, 7, 10):
        denoiser = gaussian(SPREAD, process=PROCESS)
        run = run_of(denoiser, 1, sampler, steps)
        finish(run)
        assert denoiser.calls == run.total_calls == run.calls
        assert run.total_calls <= steps + (sampler == "ancestral")


@pytest.mark.parametrize("sampler", ["stochastic", "heun", "deterministic"])
@pytest.mark.parametrize("process", [PROCESS, polynomial(100)], ids=["exploding", "polynomial"])
def test_a_run_starts_with_the_noise_of_its_first_level_and_never_tells_the_network_a_higher_one(
    gaussian: Callable[..., Any], sampler: str, process: Any
) -> None:
    denoiser = gaussian(SPREAD, process=process)
    told: list[float] = []
    forward = denoiser.forward
    denoiser.forward = lambda x, h, level, pairs=None: (
        told.append(float(level.max())),
        forward(x, h, level),
    )[1]
    run = run_of(denoiser, 300, sampler, 20, churn=0.8)
    first = float(run.lanes[0].grid[0, 0])
    d = 300 * 12
    found = math.sqrt(float(torch.cat([lanes.x for lanes in run.lanes]).square().sum()) / d)
    assert found == pytest.approx(math.sqrt(first**2 + 1), rel=4 / math.sqrt(2 * d))
    finish(run)
    assert max(told) <= first * (1 + 1e-12)


def test_a_state_that_left_the_finite_range_is_marked(edm: EDM) -> None:
    run = edm.sampling([4, 4], [1, 2], steps=2)
    while not run.done:
        run.step()
    run.lanes[0].x = torch.where(torch.tensor([[[False]], [[True]]]), math.nan, run.lanes[0].x)
    fine, broken = run.result()
    assert not fine.diverged
    assert broken.diverged


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"sampler": "teleport"}, "teleport"),
        ({"steps": 1}, "at least 2"),
        ({"churn": -0.1}, "churn"),
        ({"churn": math.nan}, "churn"),
        ({"sizes": []}, "0 sizes"),
        ({"sizes": [0, 3]}, "at least one atom"),
        ({"seeds": [1]}, "1 seeds"),
    ],
)
def test_a_run_that_cannot_start_says_why(edm: EDM, change: dict[str, Any], hint: str) -> None:
    options: dict[str, Any] = {"sizes": [3, 3], "seeds": [1, 2], **change}
    with pytest.raises(ConfigError, match=hint):
        edm.sampling(options.pop("sizes"), options.pop("seeds"), **options)


def test_a_published_table_allows_no_more_steps_than_it_has(make_edm: Callable[..., EDM]) -> None:
    denoiser = make_edm("noise").denoiser
    with pytest.raises(ConfigError, match="50 noise levels"):
        make_sampler("ancestral", 51, 0.0, denoiser)


def test_results_wait_for_the_end(edm: EDM) -> None:
    run = edm.sampling([3], [1], steps=3)
    with pytest.raises(ConfigError, match="0 of 3"):
        run.result()
    finished(run)
    with pytest.raises(ConfigError, match="done"):
        run.step()


HISTOGRAM = {3: 5, 4: 10, 7: 50, 9: 35}


def test_sizes_follow_the_histogram() -> None:
    count = 4000
    drawn = SizeDistribution(HISTOGRAM).draw([molecule_seed(3, k) for k in range(count)])
    expected = {n: count * c / 100 for n, c in HISTOGRAM.items()}
    chi_square = sum((drawn.count(n) - e) ** 2 / e for n, e in expected.items())
    assert set(drawn) <= set(HISTOGRAM)
    assert chi_square < 21.1  # three degrees of freedom: once in 10,000


def test_sizes_keep_their_limits_and_their_proportions() -> None:
    sizes = SizeDistribution(HISTOGRAM)
    drawn = sizes.draw(range(2000), minimum=4, maximum=8)
    assert set(drawn) == {4, 7}
    assert drawn.count(7) / 2000 == pytest.approx(50 / 60, abs=4 * math.sqrt(50 / 60 * 10 / 60 / 2000))
    assert sizes.draw(range(5), minimum=9) == [9] * 5
    assert sizes.draw([4, 5]) == [sizes.draw([4])[0], sizes.draw([5])[0]]


def test_sizes_that_the_data_lack_are_refused_and_impossible() -> None:
    sizes = SizeDistribution(HISTOGRAM)
    with pytest.raises(ConfigError, match="between 5 and 6"):
        sizes.draw([1], minimum=5, maximum=6)
    assert sizes.log_prob(5) == -math.inf
    assert sum(math.exp(sizes.log_prob(n)) for n in range(1, 12)) == pytest.approx(1.0)
    for counts in ({}, {3: 0}, {3: -1, 4: 2}):
        with pytest.raises(ConfigError, match="at least one"):
            SizeDistribution(counts)
