"""Laws of the density of bond lengths: any order, any size, all of the mass, the same by formula and by draws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from models.core.errors import ConfigError, ShapeError
from models.survae.contract import Noise, Stack
from models.survae.sets import Hazards, Mixture, SortWithin, places
from models.survae_conformers.alone import leave_one_out
from models.survae_conformers.model import BondLengthFlow

KINDS = [
    {
        "elements": elements, "order": 1.0, "ring": False, "mean": mean, "scale": 0.1,
        "low": mean - 0.3, "high": mean + 0.3, "count": 100,
    }
    for elements, mean in (([6, 6], 1.5), ([1, 6], 1.1))
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> BondLengthFlow:
    """Random weights, large enough for every number to look at every other; float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BondLengthFlow({"kinds": KINDS, "width": 8, "components": 3, "noise": 0.05})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.4 * torch.randn_like(parameter)
    return model.double().eval().requires_grad_(False)


def lengths(kinds: list[int], rows: int, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    mean = torch.tensor([KINDS[k]["mean"] for k in kinds], dtype=torch.float64)
    return mean + 0.1 * torch.randn(rows, len(kinds), generator=source, dtype=torch.float64)


@pytest.mark.parametrize("kinds", [[0], [1, 0], [0, 0, 0, 1], [1, 0, 1, 0, 1, 1, 0]])
def test_the_order_of_the_bonds_does_not_matter(model: BondLengthFlow, kinds: list[int]) -> None:
    """All orders of up to four bonds, twenty-four of more."""
    x = lengths(kinds, 1)[0]
    wanted = float(model.log_prob(x[None], torch.tensor([kinds])))
    for order in itertools.islice(itertools.permutations(range(len(kinds))), 24):
        rows, changed = x[list(order)][None], torch.tensor([[kinds[k] for k in order]])
        assert float(model.log_prob(rows, changed)) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kinds", [[0], [0, 0], [0, 1], [0, 0, 0], [0, 0, 1]])
def test_all_of_the_mass_is_there(model: BondLengthFlow, kinds: list[int]) -> None:
    """The integral over (0, inf)^n, ordered or not, by the midpoint rule; its grid misses 1e-3 at most."""
    axes = []
    for kind in kinds:
        mean, step = KINDS[kind]["mean"], 0.004 if len(kinds) < 3 else 0.035
        axes.append(torch.arange(max(mean - 1.1, step / 2), mean + 1.3, step, dtype=torch.float64))
    points = torch.cartesian_prod(*axes).reshape(-1, len(kinds))
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    total = sum(
        float(model.log_prob(part, torch.tensor(kinds).expand(len(part), -1)).exp().sum())
        for part in points.split(50_000)
    )
    assert total * cell == pytest.approx(1, abs=1e-3 if len(kinds) < 3 else 5e-3)


def test_draws_have_the_density(model: BondLengthFlow) -> None:
    """10,000 draws of three bonds, two of one kind: the shorter and the longer of these, the third, and a sum, in
    cells against the density summed over a grid. Five standard errors of chance, and one in a hundred of the grid.
    """
    kinds = torch.tensor([[0, 0, 1]])
    rows = 10_000
    drawn = model.sample(kinds.expand(rows, -1), Noise(torch.Generator().manual_seed(4)))
    assert bool((drawn > 0).all())
    axes = [torch.arange(low, low + 1.8, 0.03, dtype=torch.float64) for low in (0.6, 0.6, 0.21)]
    points = torch.cartesian_prod(*axes)
    density = torch.cat([model.log_prob(p, kinds.expand(len(p), -1)) for p in points.split(50_000)]).exp()
    for statistic in (
        lambda x: x[:, :2].amin(1), lambda x: x[:, :2].amax(1), lambda x: x[:, 2], lambda x: x[:, 0] + x[:, 2],
    ):  # fmt: skip
        seen, expected = statistic(drawn).numpy(), statistic(points).numpy()
        edges = np.quantile(seen, np.linspace(0, 1, 9)[1:-1])
        edges = np.unique(np.round(edges / 0.03) * 0.03 + 0.015)  # between grid points
        share = np.bincount(np.searchsorted(edges, expected), density.numpy(), len(edges) + 1)
        share /= share.sum()
        counts = np.bincount(np.searchsorted(edges, seen), minlength=len(edges) + 1)
        z = (counts - rows * share) / np.sqrt(rows * share * (1 - share))
        assert np.abs(z).max() < 5 + 0.01 * math.sqrt(rows)


def test_both_bonds_of_a_kind_are_alike(model: BondLengthFlow) -> None:
    """The first of two bonds of one kind is the shorter one in half of the draws; five standard errors."""
    drawn = model.sample(torch.tensor([[1, 0, 0]]).expand(4000, -1), Noise(torch.Generator().manual_seed(5)))
    assert abs(float((drawn[:, 1] < drawn[:, 2]).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(4000)
    assert float(drawn[:, 0].mean()) < float(drawn[:, 1].mean())  # the kinds keep their places


def test_layers_invert_and_tell_their_log_determinant(model: BondLengthFlow) -> None:
    kinds = torch.tensor([[0, 0, 0, 1, 1]])
    hazards = model.flow.stack.layers[1]
    sort = model.flow.stack.layers[0]
    noise = Noise(torch.Generator().manual_seed(0))
    x = lengths([0, 0, 0, 1, 1], 1)
    z, contribution = sort(x, kinds, noise)
    assert float(contribution) == pytest.approx(-math.log(6 * 2))
    assert bool((z[0, :3].diff() >= 0).all() and (z[0, 3:].diff() >= 0).all())
    e, log_det = hazards(z, kinds, noise)
    torch.testing.assert_close(hazards.inverse(e, kinds, noise), z, atol=1e-10, rtol=0)
    jacobian = torch.autograd.functional.jacobian(lambda v: hazards(v[None], kinds, noise).value[0], z[0])
    assert float(log_det) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-8)
    assert sort.exact and hazards.exact and model.flow.exact and model.flow.kind == "exact"


def test_mixtures_that_look_at_nothing_make_independent_bonds() -> None:
    """Then the hazards telescope to the sum of the mixtures' log-densities, above zero."""

    class Blind(torch.nn.Module):
        def forward(self, x: torch.Tensor, kinds: torch.Tensor) -> Mixture:
            shape = (*x.shape, 2)
            weight = torch.tensor([0.3, 0.7], dtype=x.dtype).log().expand(shape)
            center = torch.tensor([1.4, 1.6], dtype=x.dtype) - 0.4 * kinds[..., None]
            return Mixture(weight, center, torch.full(shape, 0.05, dtype=x.dtype))

    stack = Stack([SortWithin(), Hazards(Blind())], takes="positive")
    kinds = torch.tensor([[0, 0, 0, 1, 1]]).expand(4, -1)
    x = lengths([0, 0, 0, 1, 1], 4)
    z, contribution = stack(x, kinds, Noise(torch.Generator()))
    found = contribution - z.sum(1)
    mixture = Blind()(x, kinds)
    alone = mixture.log_density(x) - mixture.log_survival(torch.zeros_like(x))
    torch.testing.assert_close(found, alone.sum(1), atol=1e-10, rtol=0)


def test_quantiles_of_a_mixture_are_found_far_out() -> None:
    weight, center, scale = torch.tensor([[[0.2, 0.8]], [[1.0, 1.5]], [[0.1, 0.02]]]).double()
    mixture = Mixture(weight.log(), center, scale)
    for log_survival in (-1e-9, -0.1, -1.0, -30.0, -800.0):
        x = mixture.above(torch.tensor([log_survival], dtype=torch.float64))
        assert float(mixture.log_survival(x)) == pytest.approx(log_survival, rel=1e-5)


def test_equal_bonds_have_the_limit_of_nearly_equal_ones(model: BondLengthFlow) -> None:
    kinds = torch.tensor([[1, 1, 1, 1]])
    near = torch.tensor([[1.1, 1.1 + 1e-9, 1.1 - 1e-9, 1.1 + 2e-9]], dtype=torch.float64)
    equal = torch.full((1, 4), 1.1, dtype=torch.float64)
    assert float(model.log_prob(equal, kinds)) == pytest.approx(float(model.log_prob(near, kinds)), abs=1e-6)


def test_alone_and_in_a_batch_and_by_seeds_all_is_the_same(model: BondLengthFlow) -> None:
    kinds = torch.tensor([[0, 1, 1], [0, 0, 1]])
    x = torch.cat([lengths([0, 1, 1], 1), lengths([0, 0, 1], 1)])
    together = model.log_prob(x, kinds)
    assert float(model.log_prob(x[1:], kinds[1:])) == pytest.approx(float(together[1]), abs=1e-12)

    def drawn(rows: list[int]) -> torch.Tensor:
        return model.sample(kinds[rows], Noise([torch.Generator().manual_seed(row) for row in rows]))

    torch.testing.assert_close(drawn([0, 1])[1:], drawn([1]), atol=1e-12, rtol=0)


def test_a_bond_given_all_others_is_a_density_of_its_own(model: BondLengthFlow) -> None:
    """p(x_i | others) against two points' ratio of joint densities, and the order of the bonds does not matter."""
    kinds, x = torch.tensor([0, 1, 0]), lengths([0, 1, 0], 1)[0]
    found = leave_one_out(model, x, kinds)
    moved = x.clone()
    moved[1] += 0.05
    other = leave_one_out(model, moved, kinds)
    joint = model.log_prob(torch.stack([x, moved]), kinds.expand(2, -1))
    assert float(other.log_density[1] - found.log_density[1]) == pytest.approx(
        float(joint[1] - joint[0]), abs=1e-9
    )
    order = [2, 0, 1]
    changed = leave_one_out(model, x[order], kinds[order])
    for name in ("log_density", "expected", "low", "high", "p_value"):
        torch.testing.assert_close(getattr(changed, name), getattr(found, name)[order], atol=1e-9, rtol=0)
    assert bool(((found.low < found.expected) & (found.expected < found.high)).all())
    far = x.clone()
    far[0] = 3.0
    assert float(leave_one_out(model, far, kinds).p_value[0]) == 0.0


def test_every_parameter_learns(model: BondLengthFlow) -> None:
    learner = BondLengthFlow(model.config)
    learner.load_state_dict(model.float().state_dict())
    model.double()

    class Batch:
        lengths = lengths([0, 0, 1, 1], 8)
        kinds = torch.tensor([[0, 0, 1, 1]]).expand(8, -1)

    learner.loss(Batch, options={}, generator=torch.Generator().manual_seed(0))["loss"].sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learner.parameters())


def test_a_stack_that_would_lose_mass_cannot_be_assembled() -> None:
    with pytest.raises(ConfigError, match="Hazards takes chambers values"):
        Stack([Hazards(torch.nn.Identity())], takes="positive")
    with pytest.raises(ConfigError, match="takes positive values"):
        Stack([SortWithin()], takes="real")
    with pytest.raises(ConfigError, match="ascending along each row"):
        SortWithin()(torch.ones(1, 2), torch.tensor([[1, 0]]), Noise(torch.Generator()))


def test_bad_shapes_and_configurations_are_named(model: BondLengthFlow) -> None:
    with pytest.raises(ShapeError, match="lengths has shape"):
        model.log_prob(torch.ones(1, 2), torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ConfigError, match="a kind of the configuration does not fit"):
        BondLengthFlow({"kinds": [{"elements": [6, 6]}], "width": 4, "components": 2, "noise": 0.01})
    with pytest.raises(ConfigError, match="needs"):
        BondLengthFlow({"kinds": []})
    before, left = places(torch.tensor([[0, 0, 2]]))
    assert before.tolist() == [[0, 1, 0]] and left.tolist() == [[2, 1, 1]]
