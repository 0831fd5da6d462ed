"""The probability-flow likelihood against the closed form for Gaussian data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.core.centered import LOG_TWO_PI, remove_mean
from models.core.errors import ConfigError
from models.core.random import generator
from models.edm.flow import probability_flow_log_prob, transport
from models.edm.process import VarianceExploding
from models.edm.sizes import SizeDistribution

N, D = 4, 9
SIZES = SizeDistribution({N: 1})
PROCESS = VarianceExploding(0.05, 20.0)


def molecules(count: int, spread: float = 1.0) -> tuple[list[Any], list[Any]]:
    x = spread * remove_mean(torch.randn(count, N, 3, generator=generator(1), dtype=torch.float64))
    return [np.ones(N, dtype=np.int64)] * count, list(x.numpy())


def exact(row: Any, spread: float) -> float:
    return -0.5 * float((row**2).sum()) / spread**2 - D * (math.log(spread) + 0.5 * LOG_TWO_PI)


def test_transport_solves_the_gaussian_flow_and_its_divergence(gaussian: Callable[..., Any]) -> None:
    denoiser = gaussian(1.3, process=PROCESS)
    state = torch.cat([remove_mean(torch.randn(2, N, 3, dtype=torch.float64, generator=generator(2))),
                       torch.full((2, N, 1), 0.25, dtype=torch.float64)], -1)  # fmt: skip
    end, divergence = transport(denoiser, state, 120, None, lambda: False)
    low, high = 1.3**2 + PROCESS.minimum**2, 1.3**2 + PROCESS.maximum**2
    torch.testing.assert_close(end[..., :3], state[..., :3] * math.sqrt(high / low), rtol=5e-3, atol=5e-3)
    # One element has a constant feature: its estimate does not depend on z, and each has divergence one.
    expected = 0.5 * D * math.log(high / low) + N * math.log(PROCESS.maximum / PROCESS.minimum)
    torch.testing.assert_close(
        divergence, torch.full((2,), expected, dtype=torch.float64), rtol=2e-3, atol=1e-2
    )


def test_heuns_method_converges_with_order_two(gaussian: Callable[..., Any]) -> None:
    denoiser = gaussian(1.0, process=PROCESS)
    state = remove_mean(torch.randn(4, N, 3, dtype=torch.float64, generator=generator(3)))
    state = torch.cat([state, torch.full((4, N, 1), 0.25, dtype=torch.float64)], -1)
    factor = math.sqrt((1 + PROCESS.maximum**2) / (1 + PROCESS.minimum**2))
    counts = [20, 40, 80, 160]
    errors = []
    for steps in counts:
        end, _ = transport(denoiser, state, steps, torch.zeros_like(state), lambda: False)
        errors.append(float((end[..., :3] - factor * state[..., :3]).norm()))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("exactly", [True, False], ids=["exact", "hutchinson"])
def test_with_the_optimal_denoiser_the_flow_gives_the_log_likelihood(
    gaussian: Callable[..., Any], exactly: bool
) -> None:
    denoiser = gaussian(1.0, process=PROCESS)
    draws, steps = (4, 40) if exactly else (16, 60)
    z, x = molecules(4)
    found = probability_flow_log_prob(
        denoiser, SIZES, z, x, range(4), draws=draws, steps=steps, exact=exactly
    )
    # The features' prior is wider than the one constant feature: the same gap as in the bound.
    last2, model2 = PROCESS.maximum**2, PROCESS.maximum**2 + 1
    gap = -0.5 * N * ((0.0625 + last2) / model2 - 1 + math.log(model2 / last2))
    for likelihood, row in zip(found, x, strict=True):
        assert abs(likelihood.value - exact(row, 1.0) - gap) < 4.5 * likelihood.standard_error + 0.1
        assert sum(likelihood.terms.values()) == pytest.approx(likelihood.value)


def test_a_molecule_scores_alike_alone_and_in_a_batch(edm: Any) -> None:
    model = edm.requires_grad_(False)
    rng = np.random.default_rng(2)
    z = [rng.choice([1, 6, 7, 8], n) for n in (3, 4, 3)]
    x = [rng.normal(size=(len(row), 3)) for row in z]
    together = model.probability_flow_log_prob(z, x, range(3), draws=2, steps=6)
    for k in range(3):
        alone = model.probability_flow_log_prob(z[k : k + 1], x[k : k + 1], [k], draws=2, steps=6)[0]
        assert alone.value == pytest.approx(together[k].value, rel=1e-4, abs=1e-2)


def test_the_exact_divergence_and_hutchinsons_agree_on_a_network(make_edm: Callable[..., Any]) -> None:
    model = make_edm().requires_grad_(False)
    z, x = [np.array([6, 1, 8])], [np.random.default_rng(4).normal(size=(3, 3))]
    sharp = model.probability_flow_log_prob(z, x, [5], draws=3, steps=4, exact=True)[0]
    rough = model.probability_flow_log_prob(z * 40, x * 40, range(40), draws=3, steps=4)
    values = np.array([r.value for r in rough])
    error = math.hypot(values.std() / math.sqrt(40), sharp.standard_error)
    assert abs(values.mean() - sharp.value) < 5 * error


def test_flows_can_be_cancelled_and_need_draws(gaussian: Callable[..., Any]) -> None:
    z, x = molecules(1)
    with pytest.raises(InterruptedError, match="cancelled"):
        probability_flow_log_prob(gaussian(), SIZES, z, x, [0], cancelled=lambda: True)
    with pytest.raises(ConfigError, match="draws"):
        probability_flow_log_prob(gaussian(), SIZES, z, x, [0], draws=0)
