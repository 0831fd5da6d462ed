"""Noise processes against the published tables and their own laws."""

from __future__ import annotations

import math

import pytest
import torch

from models.core.errors import ConfigError
from models.edm.learned import LearnedGamma
from models.edm.process import (
    Process,
    Tabulated,
    VarianceExploding,
    cosine,
    polynomial,
    prior_scale,
)
from models.edm.schedules import process_from_dict

PROCESSES = {
    "variance-exploding": lambda: VarianceExploding(),
    "polynomial": lambda: polynomial(),
    "polynomial-50": lambda: polynomial(50),
    "cosine": lambda: cosine(),
    "learned": lambda: LearnedGamma().tabulate(),
}


@pytest.fixture(params=list(PROCESSES))
def process(request: pytest.FixtureRequest) -> Process:
    torch.manual_seed(0)
    return PROCESSES[request.param]()


def test_the_polynomial_schedule_is_the_published_table() -> None:
    gamma = polynomial(1000, power=2.0, precision=1e-5).gamma
    published = {0: -11.512915, 1: -11.330595, 500: -0.251309, 1000: 11.512516}
    for k, value in published.items():
        assert float(gamma[k]) == pytest.approx(value, abs=2e-6)


def test_the_cosine_schedule_is_the_published_table() -> None:
    gamma = cosine(1000).gamma
    assert len(gamma) == 1001
    assert float(gamma[0]) == pytest.approx(-10.0960, abs=1e-4)
    assert float(gamma[1000]) == pytest.approx(19.838, abs=1e-3)


def test_noise_levels_rise(process: Process) -> None:
    for steps in (1, 7, 50):
        grid = process.grid(steps)
        assert grid.shape == (steps + 1,)
        assert grid.dtype == torch.float64
        assert bool((grid.diff() > 0).all())


def test_grids_run_from_the_lowest_to_the_highest_level(process: Process) -> None:
    for steps in (1, 13, 50):
        grid = process.grid(steps)
        assert float(grid[0]) == pytest.approx(process.minimum, rel=1e-9)
        assert float(grid[-1]) == pytest.approx(process.maximum, rel=1e-9)


def test_network_time_inverts_the_grid(process: Process) -> None:
    for steps in (50, 20):
        expected = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        torch.testing.assert_close(process.network_time(process.grid(steps)), expected, atol=1e-9, rtol=0)


def test_network_time_in_float32_is_close(process: Process) -> None:
    grid = process.grid(50)
    time = process.network_time(grid.float())
    assert time.dtype == torch.float32
    torch.testing.assert_close(time.double(), process.network_time(grid), atol=2e-6, rtol=0)


def test_the_prior_of_a_variance_preserving_process_is_the_standard_normal() -> None:
    for process in (polynomial(), cosine(100)):
        alpha = torch.sigmoid(-process.gamma[-1].double()).sqrt()
        assert prior_scale(process.maximum) == pytest.approx(1 / float(alpha), rel=1e-9)


def test_a_learned_schedule_rises_and_meets_its_ends() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        learned = LearnedGamma(-6.0, 9.0)
        gamma = learned(torch.linspace(0, 1, 501)).detach()
        assert bool((gamma.diff() > 0).all())
        assert float(gamma[0]) == pytest.approx(-6.0, abs=1e-4)
        assert float(gamma[-1]) == pytest.approx(9.0, abs=1e-4)


def test_the_table_of_a_learned_schedule_is_the_schedule() -> None:
    torch.manual_seed(0)
    learned = LearnedGamma(steps=200)
    table = learned.tabulate()
    torch.testing.assert_close(table.gamma, learned(torch.linspace(0, 1, 201)).detach())


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"kind": "linear"}, "linear"),
        ({}, "kind is None"),
        ({"kind": "polynomial", "degree": 2}, "degree"),
        ({"kind": "variance-exploding", "minimum": 0.0}, "minimum"),
        ({"kind": "variance-exploding", "minimum": 3.0, "maximum": 2.0}, "maximum"),
        ({"kind": "table", "gamma": [1.0]}, "table"),
        ({"kind": "table", "gamma": [1.0, 0.0]}, "increasing"),
        ({"kind": "table", "gamma": [1.0, math.nan]}, "increasing"),
        ({"kind": "polynomial", "steps": 0}, "steps"),
        ({"kind": "polynomial", "precision": 0.6}, "precision"),
        ({"kind": "cosine", "steps": 0}, "steps"),
        ({"kind": "learned", "steps": 0}, "steps"),
        ({"kind": "learned", "gamma_0": 3.0, "gamma_1": 2.0}, "gamma_0"),
    ],
)
def test_a_process_that_cannot_be_made_says_why(values: dict[str, object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        process_from_dict(values)


def test_a_table_goes_through_a_card_unchanged() -> None:
    gamma = polynomial(20).gamma
    table = process_from_dict({"kind": "table", "gamma": gamma.tolist()})
    assert isinstance(table, Tabulated)
    assert torch.equal(table.gamma, gamma)


def test_a_process_from_a_card_equals_the_one_made_by_hand() -> None:
    assert process_from_dict({"kind": "variance-exploding", "minimum": 0.1, "maximum": 7.0}) == (
        VarianceExploding(0.1, 7.0)
    )


def test_samplers_start_where_the_process_says() -> None:
    assert VarianceExploding(0.01, 20.0).first == 20.0
    assert VarianceExploding(0.01, 1000.0).first == 80.0
    assert VarianceExploding(0.01, 20.0, start=4.0).first == 4.0
    for outside in (0.005, 25.0):
        with pytest.raises(ConfigError, match="start"):
            VarianceExploding(0.01, 20.0, start=outside)
