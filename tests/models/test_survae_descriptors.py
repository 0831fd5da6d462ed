"""Laws of the descriptor density: conditions are met, their probability is right, rows do not depend on the batch."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.core.errors import ConfigError
from models.survae_descriptors.conditional import Conditions, draw, truncated_normal
from models.survae_descriptors.model import DescriptorFlow

COLUMNS = [
    {
        "name": "logp",
        "kind": "continuous",
        "low": -3,
        "high": 5,
        "mean": 1.0,
        "scale": 1.2,
        "resolution": 0.05,
    },
    {"name": "rings", "kind": "count", "low": 0, "high": 6, "mean": 1.5, "scale": 1.5},
    {"name": "charge", "kind": "category", "low": 0, "high": 2, "categories": ["neutral", "cation", "anion"]},
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = DescriptorFlow({"columns": COLUMNS, "hidden": [16], "bins": 6})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


CONDITIONS = {
    "a range": ({"logp": (0.0, 1.0)}, {}),
    "a value": ({"logp": (0.5, 0.5)}, {}),
    "a count": ({"rings": (2.0, 2.0)}, {}),
    "counts up to": ({"rings": (-math.inf, 1.0)}, {}),
    "counts from": ({"rings": (3.0, math.inf)}, {}),
    "the first category": ({}, {"charge": 0}),
    "the last category": ({}, {"charge": 2}),
    "all of them": ({"logp": (0.0, 2.0), "rings": (1.0, 3.0)}, {"charge": 1}),
}


def fulfills(rows, intervals, categories):
    names = [column["name"] for column in COLUMNS]
    good = np.ones(len(rows), dtype=bool)
    for name, (low, high) in intervals.items():
        half = 0.025 if low == high and name == "logp" else 0.0
        good &= (rows[:, names.index(name)] >= low - half - 1e-4) & (
            rows[:, names.index(name)] <= high + half + 1e-4
        )
    for name, winner in categories.items():
        good &= rows[:, names.index(name)] == winner
    return good


@pytest.fixture(scope="module")
def free(model):
    """20,000 rows without conditions."""
    v = model.flow.sample(torch.zeros(20_000), SimpleNamespace(
        normal=lambda like, shape: torch.randn(len(like), *shape, generator=torch.Generator().manual_seed(1)),
        uniform=None,
    ))  # fmt: skip
    return v.double().numpy()


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_are_met_and_their_probability_is_that_of_free_rows(name, model, free):
    """Mean estimated probability of 20 runs against the share of 20,000 free rows; five standard errors of both."""
    intervals, categories = CONDITIONS[name]
    drawn = [draw(model, Conditions(intervals, categories), seed, 64) for seed in range(20)]
    assert fulfills(np.stack([each.row.numpy() for each in drawn]), intervals, categories).all()
    found = np.exp([each.log_evidence for each in drawn])
    share = fulfills(free, intervals, categories).mean()
    error = math.hypot(found.std(ddof=1) / math.sqrt(len(found)), math.sqrt(share * (1 - share) / len(free)))
    assert found.mean() == pytest.approx(share, abs=5 * error + 2e-3)


def test_rows_under_a_condition_follow_the_conditional_distribution(model, free):
    """Mean of logp given two rings: particles against the free rows that have two; five standard errors."""
    drawn = np.array(
        [draw(model, Conditions({"rings": (2.0, 2.0)}, {}), seed, 32).row[0] for seed in range(100)]
    )
    real = free[free[:, 1] == 2, 0]
    error = math.hypot(drawn.std() / math.sqrt(len(drawn)), real.std() / math.sqrt(len(real)))
    assert drawn.mean() == pytest.approx(real.mean(), abs=5 * error)


def test_rows_are_the_same_alone_and_in_a_batch(model):
    rows = torch.tensor([[0.5, 1.0, 0.0], [1.5, 2.0, 1.0], [2.5, 0.0, 2.0]])
    together = model.elbo(rows, [1, 2, 3], 4)
    assert model.elbo(rows[1:2], [2], 4)[0].value == pytest.approx(together[1].value, abs=1e-4)
    assert together[0].kind == "lower_bound" and together[0].standard_error > 0
    assert torch.equal(draw(model, Conditions({}, {}), 5).row, draw(model, Conditions({}, {}), 5).row)


def test_the_truncated_normal_keeps_its_digits_in_both_tails():
    low, high = torch.tensor([5.0, -8.0, -1.0]).double(), torch.tensor([6.0, -7.0, 1.0]).double()
    z, mass = truncated_normal(low, high, torch.full((3,), 0.5).double())
    wanted = [
        math.log(2.866515718791933e-07 - 9.865876450376946e-10),
        math.log(1.279812543885835e-12 - 6.22e-16),
    ]
    np.testing.assert_allclose(mass[:2], wanted, rtol=1e-6)
    assert ((z >= low) & (z <= high)).all() and abs(float(z[2])) < 1e-12


def test_an_unknown_descriptor_is_named(model):
    with pytest.raises(ConfigError, match="no descriptor 'mass'"):
        draw(model, Conditions({"mass": (0.0, 1.0)}, {}), 0)
    with pytest.raises(ConfigError, match="continuous ones, counts, categories"):
        DescriptorFlow({"columns": COLUMNS[::-1], "hidden": [4], "bins": 4})
