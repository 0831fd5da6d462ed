"""Laws of order-agnostic models: densities sum to one, policies are optimal, drawn strings follow the density."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from models.ardm.likelihood import ORDERS, score
from models.ardm.model import ARDM
from models.ardm.policy import best_policy, even_policy, losses_for, monotone, policy_cost, policy_for
from models.ardm.sampling import fill, sample
from models.core.errors import ConfigError
from models.training.data.strings import StringBatch

TOKENS = ["C", "N", "O"]


def tiny(seed=0, *, order="any", longest=4, **network):
    torch.manual_seed(seed)
    given = {"width": 16, "layers": 2, "heads": 2, "hidden": 32, "neighbors": 1, **network}
    config = {
        "tokens": TOKENS, "longest": longest, "lengths": {"2": 3, "3": 5}, "order": order, "network": given,
    }  # fmt: skip
    model = ARDM(config).eval()
    with torch.no_grad():  # away from the zeros of a new network
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def strings(n):
    return list(itertools.product(range(len(TOKENS)), repeat=n))


@pytest.mark.parametrize("order", ORDERS)
def test_the_density_of_an_order_sums_to_one_over_all_strings_of_all_lengths(order):
    model = tiny()
    total = 0.0
    for n in range(1, 5):
        total += sum(math.exp(score(model, ids, seed=n, draws=1, order=order).log_prob) for ids in strings(n))
    assert total == pytest.approx(1, abs=1e-5)


def test_a_left_to_right_model_sums_to_one_and_never_looks_ahead():
    model = tiny(order="left-to-right")
    total = sum(math.exp(score(model, ids, 0).log_prob) for n in range(1, 5) for ids in strings(n))
    assert total == pytest.approx(1, abs=1e-5)
    tokens = torch.tensor([[0, 1, 2, 0]])
    changed = torch.tensor([[0, 1, 2, 1]])
    same = model.next_log_predictions(tokens)[0] - model.next_log_predictions(changed)[0]
    assert same.abs().max() < 1e-6


def test_the_loss_is_the_mean_surprisal_over_all_times_and_orders():
    """All (t, order) of three tokens by hand against E_t,order [D L_t] of the training loss; 4,000 draws of 3 steps
    each make a standard error of about 0.002, so 0.02 fails less often than once in a million times.
    """
    model, ids = tiny(1), [0, 2, 1]
    exact = 0.0
    for order in itertools.permutations(range(3)):
        hidden = torch.tensor([[k not in order[:t] for k in range(3)] for t in range(3)])
        told = model.log_predictions(torch.tensor([ids] * 3), hidden)
        exact -= sum(float(told[t, k, ids[k]]) for t, k in enumerate(order)) / 6
    batch = StringBatch(torch.tensor([ids] * 12_000))
    loss = model.loss(batch, options={}, generator=torch.Generator().manual_seed(0))["loss"]
    assert 3 * float(loss.mean()) == pytest.approx(exact, abs=0.02)


def test_the_bound_is_below_the_exact_log_density_of_the_mixture_of_orders():
    """By Jensen's inequality, for every string: enumerated over all six orders."""
    model = tiny(2)
    for ids in strings(3):
        values = []
        for order in itertools.permutations(range(3)):
            hidden = torch.tensor([[k not in order[:t] for k in range(3)] for t in range(3)])
            told = model.log_predictions(torch.tensor([ids] * 3), hidden)
            values.append(sum(float(told[t, k, ids[k]]) for t, k in enumerate(order)))
        table = torch.tensor(values)
        assert table.mean() <= torch.logsumexp(table, 0) - math.log(6) + 1e-6


def test_drawn_strings_follow_the_density_of_their_orders():
    """Histogram of 4,000 strings of two tokens against the mean density of both orders; a chi-square test with
    8 degrees of freedom that fails by chance once in 100,000 runs (threshold 37.3).
    """
    model = tiny(3)
    expected = torch.zeros(9)
    for number, ids in enumerate(strings(2)):
        for order in ("left-to-right", "right-to-left"):
            found = score(model, ids, 0, order=order)
            expected[number] += math.exp(found.log_prob - found.log_length) / 2
    drawn = fill(model, [[model.mask] * 2] * 4000, range(4000))
    counts = torch.bincount(torch.tensor([3 * a + b for a, b in (one.tokens for one in drawn)]), minlength=9)
    chi = float(((counts - 4000 * expected) ** 2 / (4000 * expected)).sum())
    assert chi < 37.3


def test_filling_in_one_place_agrees_with_the_rule_of_bayes():
    """With one hidden place the prediction is p(x_k | rest) itself; 4,000 draws, threshold as above for 2 degrees of
    freedom (23.0).
    """
    model = tiny(4)
    template = [1, model.mask, 2]
    told = model.log_predictions(torch.tensor([template]), torch.tensor([[False, True, False]]))[0, 1].exp()
    drawn = fill(model, [template] * 4000, range(4000))
    assert all(one.tokens[0] == 1 and one.tokens[2] == 2 for one in drawn)
    counts = torch.bincount(torch.tensor([one.tokens[1] for one in drawn]), minlength=3)
    assert float(((counts - 4000 * told) ** 2 / (4000 * told)).sum()) < 23.0
    assert drawn[0].log_prob == pytest.approx(float(told[drawn[0].tokens[1]].log()), abs=1e-5)


def test_a_string_depends_on_its_seed_alone_and_not_on_its_batch():
    model = tiny(5, longest=12)
    together = sample(model, list(range(40)), bounds=(3, 12))
    alone = [sample(model, [seed], bounds=(3, 12))[0] for seed in range(40)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]


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


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="any order"):
        fill(tiny(order="left-to-right"), [[3]], [0])
    with pytest.raises(ConfigError, match="positive"):
        fill(tiny(), [[3]], [0], temperature=0)
    with pytest.raises(ConfigError, match="order"):
        ARDM({"tokens": TOKENS, "longest": 4, "lengths": {"2": 1}, "order": "upwards"})
    with pytest.raises(ConfigError, match="colour"):
        ARDM({"tokens": TOKENS, "longest": 4, "lengths": {"2": 1}, "colour": 1})


@pytest.mark.parametrize("order", ["any", "left-to-right"])
def test_a_gradient_reaches_every_parameter(order):
    model = tiny(order=order).requires_grad_(True)
    batch = StringBatch(torch.randint(0, 3, (16, 4), generator=torch.Generator().manual_seed(0)))
    model.loss(batch, options={}, generator=torch.Generator().manual_seed(1))["loss"].sum().backward()
    unused = {"network.from_right.weight"} if order == "left-to-right" else set()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing == unused
