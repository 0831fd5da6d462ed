"""Models that are told properties of the molecule: what they are told, each molecule for itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.core.errors import ConfigError
from models.edm.model import EDM

CONDITIONS = [
    {"name": "alpha", "unit": "bohr^3", "mean": 75.0, "spread": 6.0},
    {"name": "mu", "unit": "debye", "mean": 2.5, "spread": 1.2},
]
VALUES = [[80.0, 1.0], [70.0, 3.0], [75.0, 2.5], [60.0, 5.0]]
SIZES = [4, 3, 4, 6]


@pytest.fixture(params=["data", "noise"])
def told(request: pytest.FixtureRequest, make_edm: Callable[..., EDM]) -> EDM:
    """A small EDM with two conditions, in double precision."""
    return make_edm(request.param, context=CONDITIONS).double().requires_grad_(False).eval()


def molecules(
    model: EDM, context: list[list[float]] | None, sizes: list[int] = SIZES, first: int = 0
) -> list[np.ndarray]:
    run = model.sampling(sizes, list(range(first, first + len(sizes))), steps=4, context=context)
    while not run.done:
        run.step()
    return [sample.positions for sample in run.result()]


def test_another_value_makes_another_molecule_and_touches_no_neighbor(told: EDM) -> None:
    before = molecules(told, VALUES)
    after = molecules(told, [VALUES[0], VALUES[1], [40.0, 2.5], VALUES[3]])
    moved = [float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True)]
    assert moved[2] > 1e-4
    assert max(moved[0], moved[1], moved[3]) < 1e-12


def test_a_conditional_molecule_is_the_same_alone_and_in_any_batch(told: EDM) -> None:
    together = molecules(told, VALUES)
    for k, size in enumerate(SIZES):
        np.testing.assert_allclose(molecules(told, [VALUES[k]], [size], k)[0], together[k], atol=1e-9)


def test_values_are_scaled_by_mean_and_spread(told: EDM) -> None:
    shifted = [{**row, "mean": row["mean"] + 10, "spread": 2 * row["spread"]} for row in CONDITIONS]  # type: ignore[operator]
    other = EDM({**told.config, "context": shifted}).double()
    other.load_state_dict(told.state_dict())
    means = np.array([row["mean"] for row in CONDITIONS], dtype=float)
    same = (means + 10 + 2 * (np.array(VALUES) - means)).tolist()
    for a, b in zip(molecules(told, VALUES), molecules(other.requires_grad_(False), same), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("flow", [False, True], ids=["bound", "flow"])
def test_likelihoods_are_those_given_the_condition(told: EDM, flow: bool) -> None:
    source = np.random.default_rng(0)
    numbers = [source.choice([1, 6, 7, 8], n) for n in (3, 4)]
    positions = [source.normal(size=(n, 3)) for n in (3, 4)]
    if flow:
        score = lambda *a, **k: told.probability_flow_log_prob(*a, draws=1, steps=4, **k)  # noqa: E731
    else:
        score = lambda *a, **k: told.bound(*a, draws=4, **k)  # noqa: E731
    together = score(numbers, positions, [5, 6], context=VALUES[:2])
    alone = score(numbers[1:], positions[1:], [6], context=VALUES[1:2])
    assert alone[0].value == pytest.approx(together[1].value, abs=1e-8)
    other = score(numbers, positions, [5, 6], context=[VALUES[0], VALUES[3]])
    assert other[0].value == pytest.approx(together[0].value, abs=1e-8)
    assert abs(other[1].value - together[1].value) > 1e-6


def test_the_denoiser_stays_equivariant_under_conditions(told: EDM, rotation, source) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(2, 5, 3, generator=source, dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    h = torch.randn(2, 5, told.features.channels, generator=source, dtype=torch.float64)
    level, context = torch.tensor([0.5, 2.0]).double(), torch.tensor([[0.3, -1.0], [2.0, 0.1]]).double()
    if told.config.get("parametrization") == "noise":
        level = told.denoiser.process.grid(50)[[10, 30]]
    turn = rotation(source, reflect=True)
    plain = told.denoiser(x, h, level, context=context)
    turned = told.denoiser(x @ turn.T, h, level, context=context)
    torch.testing.assert_close(turned.x, plain.x @ turn.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(turned.h, plain.h, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("context", "hint"),
    [
        (None, "alpha, mu"),
        ([[80.0]] * 4, "one value each"),
        (VALUES[:2], "4 rows"),
        ([*VALUES[:3], [float("nan"), 1.0]], "finite"),
    ],
)
def test_missing_or_strange_values_are_refused(
    told: EDM, context: list[list[float]] | None, hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        told.sampling(SIZES, [0, 1, 2, 3], steps=4, context=context)


def test_a_model_without_conditions_takes_none(make_edm: Callable[..., EDM]) -> None:
    with pytest.raises(ConfigError, match="no conditions"):
        make_edm().sampling([3], [0], steps=4, context=[[1.0]])


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ({"name": "mu", "spread": 0.0}, "positive spread"),
        ({"name": "", "spread": 1.0}, "name"),
        ({"name": "mu", "width": 1.0}, "width"),
        ({"unit": "eV"}, "unit"),
    ],
)
def test_conditions_that_make_no_sense_say_why(
    make_edm: Callable[..., EDM], condition: dict[str, object], hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        make_edm(context=[condition])


def test_the_last_element_is_cut_off_only_where_the_published_code_did_it(
    make_edm: Callable[..., EDM],
) -> None:
    h = torch.tensor([[[0.0, 0.1, 0.0, 0.9], [0.2, 0.1, 0.0, 0.1]]])
    assert make_edm().features.decode(h).tolist() == [[8, 1]]
    assert make_edm(last_element=False).features.decode(h).tolist() == [[6, 1]]
    with pytest.raises(ConfigError, match="charge channel"):
        make_edm("noise", last_element=False)
