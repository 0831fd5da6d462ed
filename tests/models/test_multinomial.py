"""Multinomial diffusion by enumeration: the noise, its posteriors, the bound against the exact marginal, samplers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from models.multinomial.process import FORMS, Form, Process, divergence, draw, log_one_hot
from models.multinomial.times import TimeSampler

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture
def process() -> Process:
    return Process(6, 4)


def transition(process: Process, t: int, s: int) -> Tensor:
    """q(x_t | x_s) as a matrix [x_s, x_t], written out."""
    alpha = float((process.log_abar[t] - process.log_abar[s]).exp())
    k = process.classes
    return alpha * torch.eye(k, dtype=torch.float64) + (1 - alpha) / k


def times(t: int, n: int = 1) -> Tensor:
    return torch.full((n,), t)


def test_noise_of_many_steps_is_the_power_of_single_ones(process: Process) -> None:
    whole = torch.eye(4, dtype=torch.float64)
    for t in range(1, process.steps + 1):
        whole = whole @ transition(process, t, t - 1)
        found = process.diffused(log_one_hot(torch.arange(4)[:, None], 4), times(t, 4))[:, 0].exp()
        torch.testing.assert_close(found, whole, **CLOSE)
        torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64), **CLOSE)


def test_the_schedule_is_the_papers_cosine_without_a_square(process: Process) -> None:
    f = [math.cos((t / 6 + 0.008) / 1.008 * math.pi / 2) for t in range(7)]
    for t in range(6):
        assert float(process.log_abar[t].exp()) == pytest.approx(f[t] / f[0])
    assert float(process.log_abar[6].exp()) == pytest.approx(1e-9)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (4, 3), (5, 2), (6, 0)])
def test_the_posterior_of_a_sharp_start_is_bayes_rule(process: Process, t: int, s: int) -> None:
    for x0, xt in itertools.product(range(4), repeat=2):
        joint = transition(process, s, 0)[x0] * transition(process, t, s)[:, xt]
        start = log_one_hot(torch.tensor([[x0]]), 4)
        found = process.posterior(start, torch.tensor([[xt]]), times(t), times(s))[0, 0].exp()
        torch.testing.assert_close(found, joint / joint.sum(), **CLOSE)
        for form in FORMS:  # without doubt about x_0 the three forms are one
            same = process.reverse(start, torch.tensor([[xt]]), times(t), times(s), form)[0, 0].exp()
            torch.testing.assert_close(same, found, **CLOSE)


def test_three_forms_of_the_step_back_differ_where_the_prediction_is_soft(process: Process) -> None:
    soft = torch.tensor([0.1, 0.6, 0.2, 0.1], dtype=torch.float64)
    x_t, t = torch.tensor([[0]]), 4

    def by(form: Form, t: int, s: int) -> Tensor:
        return process.reverse(soft.log()[None, None], x_t, times(t), times(s), form)[0, 0].exp()

    mixture = torch.zeros(4, dtype=torch.float64)
    plugged = transition(process, t, t - 1)[:, 0] * (soft @ transition(process, t - 1, 0))
    for x0 in range(4):
        start = log_one_hot(torch.tensor([[x0]]), 4)
        mixture += soft[x0] * process.posterior(start, x_t, times(t), times(t - 1))[0, 0].exp()
    torch.testing.assert_close(by("mixture", t, t - 1), mixture, **CLOSE)
    torch.testing.assert_close(by("paper", t, t - 1), plugged / plugged.sum(), **CLOSE)
    torch.testing.assert_close(by("code", t, t - 1), plugged / plugged.sum(), **CLOSE)
    assert float((mixture - plugged / plugged.sum()).abs().max()) > 0.05
    # At the last step paper and mixture return the prediction; the code multiplies by q(x_1 | x_0).
    likely = soft * transition(process, 1, 0)[:, 0]
    torch.testing.assert_close(by("paper", 1, 0), soft, **CLOSE)
    torch.testing.assert_close(by("mixture", 1, 0), soft, **CLOSE)
    torch.testing.assert_close(by("code", 1, 0), likely / likely.sum(), **CLOSE)


class Table:
    """A diffusion of two tokens of three classes whose prediction is a table; everything can be enumerated."""

    def __init__(self, form: Form, *, bayes: bool, n: int) -> None:
        source = torch.Generator().manual_seed(3)
        self.process, self.form, self.n = Process(4, 3), form, n
        self.states = torch.tensor(list(itertools.product(range(3), repeat=n)))
        self.data = torch.rand(len(self.states), generator=source, dtype=torch.float64)
        self.data /= self.data.sum()
        random = torch.randn(5, len(self.states), n, 3, generator=source, dtype=torch.float64).log_softmax(-1)
        self.table = torch.stack([self.bayes(t) for t in range(5)]) if bayes else random

    def likelihood(self, t: int) -> Tensor:
        """q(x_t | x_0), [x_0, x_t]."""
        one = transition(self.process, t, 0)
        return torch.stack(
            [one[self.states[:, None, k], self.states[None, :, k]] for k in range(self.n)]
        ).prod(0)

    def bayes(self, t: int) -> Tensor:
        """log p(x_0 of each place | x_t), [x_t, n, 3]."""
        joint = (self.data[:, None] * self.likelihood(t)).T
        joint = joint / joint.sum(1, keepdim=True)
        marks = torch.nn.functional.one_hot(self.states, 3).double()
        return torch.einsum("ti,ink->tnk", joint, marks).clamp_min(1e-300).log()

    def back(self, t: int, s: int) -> Tensor:
        """p(x_s | x_t) of whole states, [x_t, x_s]."""
        logs = self.process.reverse(
            self.table[t], self.states, times(t, len(self.states)), times(s, len(self.states)), self.form
        )
        picked = torch.stack([logs[:, k, self.states[:, k]] for k in range(self.n)]).sum(0)
        return picked.exp()

    def marginal(self, steps: list[int]) -> Tensor:
        """Exact p(x_0) of the chain that visits `steps`, from T to 0."""
        p = torch.full((len(self.states),), 3.0**-self.n, dtype=torch.float64)
        for t, s in itertools.pairwise(steps):
            p = p @ self.back(t, s)
        return p

    def elbo(self) -> Tensor:
        """The bound of every state with its expectations over x_t written out."""
        size = len(self.states)
        out = torch.zeros(size, dtype=torch.float64)
        last = self.process.diffused(log_one_hot(self.states, 3), times(4, size))
        out -= divergence(last, torch.full_like(last, -math.log(3))).sum(1)
        for t in range(1, 5):
            weights = self.likelihood(t)
            for x, state in enumerate(self.states):
                start = log_one_hot(state.expand(size, -1), 3)
                true = self.process.posterior(start, self.states, times(t, size), times(t - 1, size))
                guess = self.process.reverse(
                    self.table[t], self.states, times(t, size), times(t - 1, size), self.form
                )
                out[x] -= (weights[x] * divergence(true, guess).sum(1)).sum()
        return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2])
def test_the_bound_is_never_above_the_exact_marginal_and_both_are_normalised(form: Form, n: int) -> None:
    chain = Table(form, bayes=False, n=n)
    exact = chain.marginal([4, 3, 2, 1, 0])
    assert float(exact.sum()) == pytest.approx(1.0, abs=1e-12)
    elbo = chain.elbo()
    assert bool((elbo <= exact.log() + 1e-12).all()) and float(elbo.exp().sum()) < 1.0
    assert float((exact.log() - elbo).max()) > 1e-3


def test_the_bound_is_the_exact_data_likelihood_where_the_step_back_is_the_bayes_posterior() -> None:
    # One token, the mixture form and the Bayes prediction: the chain is the true reversal, up to the 1e-9 left at T.
    chain = Table("mixture", bayes=True, n=1)
    torch.testing.assert_close(chain.elbo(), chain.data.log(), rtol=0, atol=1e-8)
    torch.testing.assert_close(chain.marginal([4, 3, 2, 1, 0]), chain.data, rtol=0, atol=1e-8)
    torch.testing.assert_close(
        chain.marginal([4, 2, 0]), chain.data, rtol=0, atol=1e-8
    )  # strides lose nothing
    plugged = Table("paper", bayes=True, n=1)
    assert float((plugged.elbo() - plugged.data.log()).abs().max()) > 1e-3


def test_noised_tokens_follow_the_noise(process: Process) -> None:
    # Chi-square tests at 1e-4.
    uniform = torch.rand(8000, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for t in range(process.steps + 1):
        found = process.noised(torch.full((8000, 1), 2), times(t, 8000), uniform)
        wanted = 8000 * process.diffused(log_one_hot(torch.tensor([[2]]), 4), times(t))[0, 0].exp()
        counts = torch.bincount(found[:, 0], minlength=4).double()
        assert not counts[wanted == 0].any()
        statistic = float(((counts - wanted)[wanted > 0] ** 2 / wanted[wanted > 0]).sum())
        assert statistic < chi2.ppf(1 - 1e-4, 3)


def test_single_precision_gives_the_same_terms(process: Process) -> None:
    source = torch.Generator().manual_seed(0)
    x_t, x_0 = torch.randint(4, (12, 5), generator=source), torch.randint(4, (12, 5), generator=source)
    t = torch.arange(12) % 6 + 1
    soft = torch.randn(12, 5, 4, generator=source, dtype=torch.float64).log_softmax(-1)
    both = []
    for dtype in (torch.float64, torch.float32):
        true = process.posterior(log_one_hot(x_0, 4, dtype), x_t, t, t - 1)
        both.append(divergence(true, process.reverse(soft.to(dtype), x_t, t, t - 1)))
    assert both[1].dtype == torch.float32 and bool(both[1].isfinite().all())
    torch.testing.assert_close(both[1].double(), both[0], rtol=1e-4, atol=1e-5)


def test_draws_follow_their_probabilities() -> None:
    # A chi-square test at 1e-4.
    log_p = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64).log()
    uniform = torch.rand(8000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = torch.bincount(draw(log_p.expand(8000, -1), uniform), minlength=4).double()
    assert counts[1] == 0
    wanted = 8000 * log_p.exp()
    statistic = float(((counts - wanted)[wanted > 0] ** 2 / wanted[wanted > 0]).sum())
    assert statistic < chi2.ppf(1 - 1e-4, 2)
    assert draw(log_p.expand(2, -1), torch.tensor([0.0, 1.0 - 1e-16])).tolist() == [0, 3]


def test_times_are_uniform_until_all_are_known_and_then_follow_the_terms() -> None:
    sampler = TimeSampler(3)
    sampler.update(torch.tensor([1, 2] * 20), torch.ones(40))
    torch.testing.assert_close(sampler.probabilities, torch.full((3,), 1 / 3, dtype=torch.float64))
    sampler.update(torch.tensor([3] * 20), torch.full((20,), 2.0))
    sampler.update(torch.tensor([1] * 200), torch.full((200,), 9.0))
    q = sampler.probabilities
    # t = 1 has the weight of t = 2, whatever its own terms
    torch.testing.assert_close(q, torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64), rtol=1e-3, atol=0)
    t, found = sampler.draw(20_000, torch.Generator().manual_seed(0))
    assert set(t.tolist()) == {1, 2, 3}
    torch.testing.assert_close(found, q[t - 1])
    estimates = t.double() / found  # an unbiased estimate of 1 + 2 + 3, whatever q
    error = float(estimates.std() / 20_000**0.5)
    assert abs(float(estimates.mean()) - 6) < 4 * error
