"""Multinomial diffusion of strings: loss and bound agree, walks keep what is fixed, repairs find what was broken."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.multinomial.bound import quick_scores, score
from models.multinomial.model import MultinomialDiffusion
from models.multinomial.process import log_one_hot
from models.multinomial.repair import Effort, candidates, repair
from models.multinomial.sampling import Start, strides, walk
from models.strings.edits import distance, drop_unmatched, faults, single_edits, swaps
from models.strings.tokens import smiles_tokens

TOKENS = ["C", "O", "(", ")", "1", "="]
CONFIG = {
    "tokens": TOKENS,
    "longest": 12,
    "lengths": {"3": 2, "4": 5, "6": 3},
    "steps": 8,
    "form": "mixture",
    "network": {"width": 16, "layers": 2, "heads": 2, "hidden": 32, "neighbors": 1},
}


def small_model(**changes: object) -> MultinomialDiffusion:
    torch.manual_seed(0)
    model = MultinomialDiffusion({**CONFIG, **changes})
    source = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=source))
    return model.eval().requires_grad_(False)


@pytest.fixture
def model() -> MultinomialDiffusion:
    return small_model()


class Oracle(MultinomialDiffusion):
    """Predicts one string of each length with great certainty, whatever it sees."""

    def __init__(self, *strings: str) -> None:
        super().__init__(CONFIG)
        self.known = {len(ids): ids for ids in (self.vocabulary.encode(text) for text in strings)}
        self.requires_grad_(False)

    def predict(self, x_t: Tensor, t: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        n = x_t.shape[1]
        ids = self.known.get(n, [0] * n)
        sharp = torch.full((n, len(TOKENS)), math.log(0.01), dtype=torch.float64)
        sharp[torch.arange(n), torch.tensor(ids)] = 0.0
        return sharp.log_softmax(-1).expand(len(x_t), -1, -1)


def test_the_training_loss_is_an_unbiased_estimate_of_the_bound(model: MultinomialDiffusion) -> None:
    # Four standard errors: a false alarm once in 16,000 seeds.
    text = "CC(C)O"
    tokens = model.vocabulary.encode(text)
    found = score(model, tokens, 3, draws=200)
    batch = SimpleNamespace(tokens=torch.tensor([tokens] * 4000))
    for known in (False, True):
        if known:  # the importance sampler has seen every time and is no longer uniform
            model.times.seen.fill_(20)
            model.times.squares.copy_(torch.linspace(1, 9, 8))
        loss = model.loss(batch, options={"cross_entropy": 0.0}, generator=torch.Generator().manual_seed(7))
        values = loss["bound"] * len(tokens)
        error = math.hypot(float(values.std()) / 4000**0.5, found.likelihood.standard_error)
        assert abs(float(values.mean()) + found.likelihood.terms["diffusion"]) < 4 * error


def test_the_terms_of_a_score_add_up_and_tokens_share_it_out(model: MultinomialDiffusion) -> None:
    found = score(model, model.vocabulary.encode("C(=O)O"), 1, draws=3)
    assert sum(found.likelihood.terms.values()) == pytest.approx(found.likelihood.value)
    assert -sum(found.surprisal) == pytest.approx(found.likelihood.value - found.likelihood.terms["length"])
    assert found.likelihood.kind == "lower_bound" and found.likelihood.standard_error > 0
    assert found == score(model, model.vocabulary.encode("C(=O)O"), 1, draws=3)
    assert math.isinf(score(model, [0], 1, draws=1).likelihood.standard_error)


def test_the_bound_of_whole_strings_is_below_the_exact_likelihood_of_the_sampler() -> None:
    # Strings of two tokens of a model of 2 steps: the chain is enumerated. The bound's error is that of its draws.
    model = small_model(steps=2, longest=4, lengths={"2": 1})
    states = torch.tensor(list(itertools.product(range(6), repeat=2)))
    p = torch.full((36,), 1 / 36, dtype=torch.float64)
    for t in (2, 1):
        times = torch.full((36,), t)
        logs = model.process.reverse(model.predict(states, times), states, times, times - 1)
        p = p @ (logs[:, 0, states[:, 0]] + logs[:, 1, states[:, 1]]).exp()
    assert float(p.sum()) == pytest.approx(1)
    scores = [score(model, state.tolist(), k, draws=16).likelihood for k, state in enumerate(states)]
    length = model.lengths.log_prob(2)
    for exact, found in zip(p.log().tolist(), scores, strict=True):
        assert found.value - length < exact + 4 * found.standard_error
    assert sum(math.exp(found.value - length) for found in scores) < 1


def test_quick_scores_with_every_time_and_full_scores_tell_the_same_of_a_certain_model() -> None:
    oracle = Oracle("CC(C)O")
    strings = [tuple(oracle.vocabulary.encode(text)) for text in ("CC(C)O", "CC(C)C", "OO(O)C")]
    quick = quick_scores(oracle, strings, 0, 8)
    full = [score(oracle, ids, 1, draws=200).likelihood.value for ids in strings]
    assert quick[0] > quick[1] > quick[2] and full[0] > full[1] > full[2]
    assert quick[0] - quick[2] == pytest.approx(full[0] - full[2], rel=0.3)


@pytest.mark.parametrize("form", ["mixture", "paper", "code"])
def test_walks_end_where_a_certain_model_wants_them(form: str) -> None:
    oracle = Oracle("CC(C)O", "C=O")
    oracle.form = form  # type: ignore[assignment]
    made = walk(oracle, [Start.empty(k, 6 if k % 2 else 3) for k in range(20)], 8, temperature=0.2)
    assert {oracle.vocabulary.decode(ids) for ids in made if ids} == {"CC(C)O", "C=O"}


def test_a_string_is_the_same_alone_and_in_any_batch(model: MultinomialDiffusion) -> None:
    starts = [Start.empty(seed, n) for seed, n in enumerate((3, 6, 3, 4, 6))]
    together = walk(model, starts, 4)
    assert walk(model, [starts[4]], 4) == [together[4]] and walk(model, starts[:1], 4) == [together[0]]
    assert len({tuple(ids or ()) for ids in together}) == 5


def test_fixed_tokens_stay_and_little_noise_changes_little(model: MultinomialDiffusion) -> None:
    ids = tuple(model.vocabulary.encode("CC(C)O"))
    fixed = (True, False, True, False, True, False)
    for made in walk(model, [Start(seed, ids, fixed) for seed in range(10)], 8):
        assert made is not None and [made[k] for k in (0, 2, 4)] == [ids[0], ids[2], ids[4]]
    oracle = Oracle("CC(C)C")
    same = walk(oracle, [Start(seed, ids, (False,) * 6) for seed in range(10)], 8, begin=8, temperature=0.1)
    assert all(oracle.vocabulary.decode(made or []) == "CC(C)C" for made in same)
    many = torch.tensor([ids] * 2000)
    for t in (1, 4, 8):  # the share that is kept, within four standard errors
        uniform = torch.rand(2000, 6, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        kept = (model.noised(many, torch.full((2000,), t), uniform) == many).double().mean()
        abar = float(model.process.log_abar[t].exp())
        assert abs(float(kept) - abar - (1 - abar) / 6) < 4 * 0.5 / 12_000**0.5


def test_a_canceled_walk_keeps_what_was_finished_and_bad_settings_are_refused(
    model: MultinomialDiffusion,
) -> None:
    asked = iter([False, False, True])
    made = walk(model, [Start.empty(0, 3), Start.empty(1, 6)], 2, cancelled=lambda: next(asked))
    assert made[0] is not None and made[1] is None
    assert strides(100, 4) == [100, 75, 50, 25, 0] and strides(3, 10) == [3, 2, 1, 0]
    for fault in ({"steps": 0}, {"steps": 2, "begin": 9}, {"steps": 2, "temperature": 0.0}):
        with pytest.raises(ConfigError):
            walk(model, [Start.empty(0, 3)], **fault)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="butter"):
        MultinomialDiffusion({**CONFIG, "form": "butter"})


def test_a_gradient_reaches_every_parameter() -> None:
    model = small_model().requires_grad_(True)
    tokens = torch.randint(6, (64, 6), generator=torch.Generator().manual_seed(0))
    options = {"cross_entropy": 0.1}
    loss = model.loss(
        SimpleNamespace(tokens=tokens), options=options, generator=torch.Generator().manual_seed(0)
    )
    loss["loss"].sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not without
    assert float(log_one_hot(tokens, 6).exp().sum()) == tokens.numel()


# --- edits, repair -----------------------------------------------------------------------------------------------


def test_single_edits_are_all_strings_at_distance_one_and_no_other() -> None:
    start = (0, 1, 1)
    every = {t for n in range(1, 6) for t in itertools.product(range(3), repeat=n) if distance(start, t) == 1}
    found = list(single_edits(start, 3))
    assert len(found) == len(set(found)) and set(found) == every
    assert set(swaps(start)) == {(1, 0, 1)}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("CC(C)O", 0), ("CC(C", 1), ("CC)C", 1), ("C1CC", 1), ("C1CC1", 0), ("C()C", 1), ("C=", 1), ("C==C", 1),
        ("(C)C", 1),
    ],
)  # fmt: skip
def test_faults_are_counted(text: str, count: int) -> None:
    assert faults(smiles_tokens(text)) == count


def test_dropping_what_has_no_partner_is_the_plain_repair() -> None:
    assert "".join(drop_unmatched(smiles_tokens("CC(C(C)O1)C)N2"))) == "CC(C(C)O)CN"
    assert "".join(drop_unmatched(smiles_tokens("CC(C)O"))) == "CC(C)O"


def sound(texts: list[str]) -> list[bool]:
    """A judge without chemistry: whatever has no plain fault."""
    return [bool(text) and not faults(smiles_tokens(text)) for text in texts]


@pytest.mark.parametrize("broken", ["CC(CO", "CC(C)=", "CCC)O", "CC(C)OO("])
def test_a_repair_is_valid_near_and_the_likeliest_of_its_kind(broken: str) -> None:
    oracle = Oracle("CC(C)O")
    tokens = tuple(oracle.vocabulary.encode(broken))
    found = repair(oracle, tokens, sound, 0, count=3, effort=Effort(edits=2))
    assert found and all(sound([one.text]) == [True] for one in found)
    assert all(one.edits == distance(tokens, one.tokens) >= 1 for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    if distance(tokens, oracle.vocabulary.encode("CC(C)O")) == found[0].edits:
        assert found[0].text == "CC(C)O"


def test_a_valid_string_comes_back_and_a_hopeless_one_says_so(model: MultinomialDiffusion) -> None:
    ids = tuple(model.vocabulary.encode("CCO"))
    assert [one.edits for one in repair(model, ids, sound, 0)] == [0]
    broken = tuple(model.vocabulary.encode("((((C"))
    rank = lambda strings, care: [0.0] * len(strings)  # noqa: E731
    assert candidates(broken, model.vocabulary, 12, sound, rank, Effort(edits=1)) == []
