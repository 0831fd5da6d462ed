"""Laws of order-agnostic models: densities sum to one, policies are optimal, drawn strings follow the density."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from models.ardm.hierarchy import Hierarchy
from models.ardm.likelihood import ORDERS, score
from models.ardm.model import ARDM
from models.ardm.ordered import sample_ordered
from models.ardm.policy import (
    best_policy,
    budgets,
    even_policy,
    losses_for,
    monotone,
    policy_cost,
    policy_for,
)
from models.ardm.sampling import StoppedError, fill, sample
from models.core.errors import ConfigError
from models.training.data.strings import StringBatch

TOKENS = ["C", "N", "="]
DEEP = {"none": 1, "chemical": 2}
"""Hierarchies and their stages: with the chemical one, it is told first whether a token is an atom or a bond."""


def tiny(seed=0, *, order="any", longest=4, hierarchy="none", tokens=TOKENS, **network):
    torch.manual_seed(seed)
    given = {"width": 16, "layers": 2, "heads": 2, "hidden": 32, "neighbors": 1, **network}
    config = {
        "tokens": tokens, "longest": longest, "lengths": {"2": 3, "3": 5}, "order": order, "network": given,
        "hierarchy": hierarchy,
    }  # fmt: skip
    model = ARDM(config).eval()
    with torch.no_grad():  # away from the zeros of a new network
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def strings(n):
    return list(itertools.product(range(len(TOKENS)), repeat=n))


def every_order(model, ids):
    """The exact log p(x | n) under every order of places in every stage, by hand."""
    tokens, n, totals = torch.tensor([ids]), len(ids), [0.0]
    for stage in range(model.hierarchy.stages):
        unknown = model.hierarchy.at(tokens, stage)[0] != model.hierarchy.at(tokens, stage + 1)[0]
        values = []
        for order in itertools.permutations(unknown.nonzero()[:, 0].tolist()):
            value = 0.0
            for t, place in enumerate(order):
                hidden = torch.tensor([[k in order[t:] for k in range(n)]])
                value += float(model.log_told(tokens, hidden, stage)[0, place])
            values.append(value)
        totals = [before + value for before in totals for value in values]
    return torch.tensor(totals, dtype=torch.float64)


@pytest.mark.parametrize("hierarchy", DEEP)
@pytest.mark.parametrize("order", ORDERS)
def test_the_density_of_an_order_sums_to_one_over_all_strings_of_all_lengths(order, hierarchy):
    model = tiny(hierarchy=hierarchy)
    assert model.hierarchy.stages == DEEP[hierarchy]
    total = 0.0
    for n in range(1, 5):
        total += sum(math.exp(score(model, ids, seed=n, draws=1, order=order).log_prob) for ids in strings(n))
    assert total == pytest.approx(1, abs=1e-5)


def test_drug_like_tokens_are_told_as_kinds_then_elements_then_hydrogens():
    tokens = ["C", "c", "N", "n", "O", "Br", "[nH]", "[H]", "(", ")", "=", "#", "-", "1", "2"]
    hierarchy = Hierarchy(tokens, "chemical")
    stages = [
        ["".join(t for t, inside in zip(tokens, hierarchy.members[symbol], strict=True) if inside) for symbol in row]
        for row in hierarchy.shown.tolist()
    ]  # fmt: skip
    assert stages[0] == ["".join(tokens)] * len(tokens) and stages[-1] == tokens
    kinds = ["CNOBr[H]", "cn[nH]", "(", ")", "=#-", "12"]
    assert list(dict.fromkeys(sorted(stages[1], key=kinds.index))) == kinds
    assert [one for one in stages[2] if one not in tokens] == ["n[nH]"] * 2


def test_three_stages_sum_to_one_and_fixed_orders_are_among_all_orders():
    tokens = ["C", "[C-]", "N", "="]
    model = tiny(8, hierarchy="chemical", tokens=tokens)
    assert model.hierarchy.stages == 3
    total = 0.0
    for ids in itertools.product(range(4), repeat=2):
        values = every_order(model, ids)
        total += float(values.exp().mean())
        for order in ORDERS:
            found = score(model, ids, 0, order=order, draws=1)
            assert float((values - (found.log_prob - found.log_length)).abs().min()) < 1e-5
    assert total == pytest.approx(1, abs=1e-5)


def test_a_left_to_right_model_sums_to_one_and_never_looks_ahead():
    model = tiny(order="left-to-right")
    total = sum(math.exp(score(model, ids, 0).log_prob) for n in range(1, 5) for ids in strings(n))
    assert total == pytest.approx(1, abs=1e-5)
    tokens = torch.tensor([[0, 1, 2, 0]])
    changed = torch.tensor([[0, 1, 2, 1]])
    same = model.next_log_predictions(tokens)[0] - model.next_log_predictions(changed)[0]
    assert same.abs().max() < 1e-6


@pytest.mark.parametrize("hierarchy", DEEP)
def test_the_loss_is_the_mean_surprisal_over_all_times_and_orders(hierarchy):
    """All (stage, t, order) of three tokens by hand against the training loss; 12,000 strings make a standard error
    of about 0.003 (0.008 with two stages), so that 0.04 fails less often than once in a hundred thousand times.
    """
    model, ids = tiny(1, hierarchy=hierarchy), [0, 2, 1]
    batch = StringBatch(torch.tensor([ids] * 12_000))
    loss = model.loss(batch, options={}, generator=torch.Generator().manual_seed(0))["loss"]
    assert 3 * float(loss.mean()) == pytest.approx(-float(every_order(model, ids).mean()), abs=0.04)


@pytest.mark.parametrize("hierarchy", DEEP)
def test_the_bound_is_below_the_exact_log_density_of_the_mixture_of_orders(hierarchy):
    """By Jensen's inequality, for every string; and `score` draws the bound without bias, within four errors."""
    model = tiny(2, hierarchy=hierarchy)
    for ids in strings(3):
        table = every_order(model, ids)
        assert table.mean() <= table.exp().mean().log() + 1e-6
    ids = (0, 1, 2)
    found = score(model, ids, 0, draws=200)
    exact = float(every_order(model, ids).mean()) + found.log_length
    assert abs(found.log_prob - exact) < 4 * found.standard_error + 1e-6


@pytest.mark.parametrize("hierarchy", DEEP)
def test_drawn_strings_follow_the_density_of_their_orders(hierarchy):
    """Histogram of 4,000 strings of two tokens against the mean density of all orders; a chi-square test with
    8 degrees of freedom that fails by chance once in 100,000 runs (threshold 37.3).
    """
    model = tiny(3, hierarchy=hierarchy)
    expected = torch.stack([every_order(model, ids).exp().mean() for ids in strings(2)])
    drawn = fill(model, [[model.mask] * 2] * 4000, range(4000))
    counts = torch.bincount(torch.tensor([3 * a + b for a, b in (one.tokens for one in drawn)]), minlength=9)
    chi = float(((counts - 4000 * expected) ** 2 / (4000 * expected)).sum())
    assert chi < 37.3
    for one in drawn[:20]:
        assert float((every_order(model, one.tokens) - one.log_prob).abs().min()) < 1e-5


def test_filling_in_one_place_agrees_with_the_rule_of_bayes():
    """With one hidden place the prediction is p(x_k | rest) itself; 4,000 draws, threshold as above for 2 degrees of
    freedom (23.0).
    """
    model = tiny(4)
    template = [1, model.mask, 2]
    told = model.log_predictions(torch.tensor([template]))[0, 1].exp()
    drawn = fill(model, [template] * 4000, range(4000))
    assert all(one.tokens[0] == 1 and one.tokens[2] == 2 for one in drawn)
    counts = torch.bincount(torch.tensor([one.tokens[1] for one in drawn]), minlength=3)
    assert float(((counts - 4000 * told) ** 2 / (4000 * told)).sum()) < 23.0
    assert drawn[0].log_prob == pytest.approx(float(told[drawn[0].tokens[1]].log()), abs=1e-5)


@pytest.mark.parametrize("hierarchy", DEEP)
def test_a_string_depends_on_its_seed_alone_and_not_on_its_batch(hierarchy):
    model = tiny(5, longest=12, hierarchy=hierarchy)
    together = sample(model, list(range(40)), bounds=(3, 12))
    alone = [sample(model, [seed], bounds=(3, 12))[0] for seed in range(40)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]


def test_fixed_places_stay_in_a_model_of_several_stages():
    model = tiny(5, longest=12, hierarchy="chemical")
    template = [0, model.mask, 2, model.mask, 1, 1]
    for one in fill(model, [template] * 20, range(20), steps=3):
        assert [one.tokens[k] for k in (0, 2, 4, 5)] == [0, 2, 1, 1] and max(one.tokens) < 3


def test_a_budget_is_shared_out_among_stages_such_that_all_together_cost_least():
    difficulty = [{"places": 1.0, "nats": [2.0, 1.5, 0.1]}, {"places": 0.5, "nats": [1.0, 0.2]}]
    for steps in range(2, 14):
        found = budgets(9, steps, difficulty, 2)
        assert sum(found) <= steps and min(found) >= 1
        costs = [
            [best_policy(losses_for(n, part["nats"]), calls)[1] for calls in range(1, n + 1)]
            for n, part in zip((9, 4), difficulty, strict=True)
        ]
        pairs = itertools.product(range(1, 10), range(1, 5))
        least = min(costs[0][a - 1] + costs[1][b - 1] for a, b in pairs if a + b <= steps)
        assert sum(part[calls - 1] for part, calls in zip(costs, found, strict=True)) == pytest.approx(least)
        assert sum(budgets(9, steps, difficulty, 2, even=True)) == steps
    assert budgets(9, 5, (), 2) == [3, 2] and budgets(9, 5, (), 1) == [5]
    with pytest.raises(ConfigError, match="2 stages"):
        budgets(9, 1, difficulty, 2)
    model = tiny(6, longest=12, hierarchy="chemical")
    model.config["difficulty"] = difficulty
    for steps in (2, 5, 9):
        assert max(one.calls for one in sample(model, list(range(30)), steps=steps)) <= steps


def test_a_budget_bounds_the_network_calls_and_full_budget_fills_one_place_a_call():
    model = tiny(6, longest=12)
    for steps, most in ((1, 1), (3, 3), (None, 12)):
        drawn = sample(model, list(range(8)), bounds=(12, 12), steps=steps)
        assert {one.calls for one in drawn} == {most}
        assert all(len(one.tokens) == 12 and max(one.tokens) < 3 for one in drawn)


def test_the_policy_of_the_published_example_costs_what_was_published():
    losses = [5, 4, 3, 2.85, 2.80]
    assert [best_policy(losses, budget)[1] for budget in range(1, 6)] == pytest.approx(
        [25, 19, 18, 17.7, 17.65]
    )


@pytest.mark.parametrize("n", [1, 4, 9])
def test_no_policy_is_cheaper_than_the_one_of_the_dynamic_programme(n):
    source = torch.Generator().manual_seed(n)
    losses = torch.rand(n, generator=source).tolist()
    assert monotone(losses)[0] == max(losses)
    for budget in range(1, n + 1):
        policy, cost = best_policy(losses, budget)
        assert sum(policy) == n and len(policy) <= budget and min(policy) > 0
        assert cost == pytest.approx(policy_cost(losses, policy))
        cuts = itertools.combinations(range(1, n), budget - 1)
        every = ([b - a for a, b in itertools.pairwise((0, *cut, n))] for cut in cuts)
        assert cost == pytest.approx(min(policy_cost(losses, one) for one in every))
        assert cost <= policy_cost(losses, even_policy(n, budget)) + 1e-9


def test_policies_and_losses_cover_every_place():
    assert policy_for(7, None, ()) == [1] * 7
    assert sum(policy_for(7, 3, ())) == 7 and sum(policy_for(7, 3, (3.0, 1.0))) == 7
    assert losses_for(4, (2.0, 1.0)) == [2.0, 2.0, 1.0, 1.0]
    with pytest.raises(ConfigError, match="a call"):
        best_policy([1.0], 0)


@pytest.mark.parametrize("ends", [False, True])
def test_a_left_to_right_model_draws_what_its_density_says(ends):
    """4,000 strings of two tokens; chi-square with 8 degrees of freedom, one false alarm in 100,000 (37.3)."""
    model = tiny(order="left-to-right", ends=ends)
    drawn = sample_ordered(model, [2] * 4000, range(4000))
    p, counts = [], []
    for ids in strings(2):
        p.append(math.exp(score(model, ids, 0).log_prob - model.lengths.log_prob(2)))
        counts.append(sum(one.tokens == tuple(ids) for one in drawn))
    assert sum(p) == pytest.approx(1, abs=1e-5)
    assert sum((n - 4000 * q) ** 2 / (4000 * q) for n, q in zip(counts, p, strict=True)) < 37.3
    ids = drawn[0].tokens
    assert drawn[0].log_prob == pytest.approx(
        score(model, ids, 0).log_prob - model.lengths.log_prob(2), abs=1e-4
    )


def test_a_left_to_right_string_depends_on_its_seed_alone_and_not_on_its_batch():
    model = tiny(order="left-to-right", longest=12, ends=True)
    lengths = model.lengths.draw(range(40), 3, 12)
    together = sample_ordered(model, lengths, range(40), temperature=0.7)
    alone = [sample_ordered(model, [n], [seed], temperature=0.7)[0] for seed, n in enumerate(lengths)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.calls for one in together] == [len(one.tokens) for one in together] == lengths


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="left-to-right model"):
        sample_ordered(tiny(), [3], [0])
    with pytest.raises(ConfigError, match="positive"):
        sample_ordered(tiny(order="left-to-right"), [3], [0], temperature=0)
    with pytest.raises(StoppedError):
        sample_ordered(tiny(order="left-to-right"), [3], [0], stopped=lambda: True)
    with pytest.raises(ConfigError, match="any order"):
        fill(tiny(order="left-to-right"), [[3]], [0])
    with pytest.raises(ConfigError, match="positive"):
        fill(tiny(), [[3]], [0], temperature=0)
    with pytest.raises(ConfigError, match="order"):
        ARDM({"tokens": TOKENS, "longest": 4, "lengths": {"2": 1}, "order": "upwards"})
    for hierarchy, order in (("physical", "any"), ("chemical", "left-to-right")):
        with pytest.raises(ConfigError, match="hierarchy"):
            tiny(order=order, hierarchy=hierarchy)
    with pytest.raises(ConfigError, match="colour"):
        ARDM({"tokens": TOKENS, "longest": 4, "lengths": {"2": 1}, "colour": 1})


@pytest.mark.parametrize(
    ("order", "hierarchy"), [("any", "none"), ("any", "chemical"), ("left-to-right", "none")]
)
def test_a_gradient_reaches_every_parameter(order, hierarchy):
    model = tiny(order=order, hierarchy=hierarchy).requires_grad_(True)
    batch = StringBatch(torch.randint(0, 3, (16, 4), generator=torch.Generator().manual_seed(0)))
    model.loss(batch, options={}, generator=torch.Generator().manual_seed(1))["loss"].sum().backward()
    unused = {"network.from_right.weight"} if order == "left-to-right" else set()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing == unused
