"""Discrete denoising flows: bijections that sum to one, greedy training, the eight Gaussians, the baselines."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from chemistry.fingerprints import fingerprint, fingerprints, tanimoto
from chemistry.reasons import Failure
from models.core.errors import ConfigError, ShapeError
from models.ddf import gaussians
from models.ddf.baselines import Baselines, chow_liu
from models.ddf.fitting import FitOptions, Moving, fit, next_layer
from models.ddf.flow import DiscreteFlow
from models.ddf.layers import Coupling
from models.ddf.library import Library
from models.ddf.model import FingerprintDDF
from models.ddf.permutation import from_ranks, order, to_ranks

STACKS = {
    "couplings": ["coupling", "coupling", "coupling"],
    "splits": ["split", "split"],
    "both": ["coupling", "split", "coupling"],
    "neither": [],
}


def wild_flow(layers: list[str], dimensions: int = 7, classes: int = 2) -> DiscreteFlow:
    """A flow with random weights and divisions in float64."""
    source = torch.Generator().manual_seed(2)
    flow = DiscreteFlow(
        {"dimensions": dimensions, "classes": classes, "width": 16, "depth": 1, "layers": layers}
    ).double()
    for parameter in flow.parameters():
        parameter.data.normal_(generator=source)
    for layer in flow.layers:
        layer.order.copy_(torch.randperm(len(layer.order), generator=source))
    flow.prior.logs.normal_(generator=source)
    return flow.requires_grad_(False)


def every(dimensions: int, classes: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(classes), repeat=dimensions)))


@pytest.fixture(params=list(STACKS))
def layers(request: pytest.FixtureRequest) -> list[str]:
    return STACKS[request.param]


@pytest.mark.parametrize(("dimensions", "classes"), [(9, 2), (5, 4), (3, 7)])
def test_probabilities_of_all_states_sum_to_one(layers: list[str], dimensions: int, classes: int) -> None:
    if dimensions == 3 and layers == STACKS["splits"]:
        layers = ["split"]  # two dimensions are left, and then one
    flow = wild_flow(layers, dimensions, classes)
    total = flow.log_prob(every(dimensions, classes)).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_stack_of_couplings_is_a_bijection_and_its_inverse_is_one() -> None:
    flow = wild_flow(STACKS["couplings"], 5, 3)
    x = every(5, 3)
    z, spent = flow(x)
    assert len(torch.unique(z, dim=0)) == len(x) and not spent.any()
    back = z
    for layer in reversed(list(flow.layers)):
        assert isinstance(layer, Coupling)
        back = layer.inverse(back)
    assert torch.equal(back, x)
    assert not torch.equal(z, x)


def test_a_coupling_of_bits_is_exclusive_or_with_the_likelier_bit() -> None:
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert to_ranks(torch.tensor([1, 1, 1]), logits).tolist() == [0, 1, 1]
    assert to_ranks(torch.tensor([0, 0, 0]), logits).tolist() == [1, 0, 0]


def test_equal_logits_keep_the_order_of_the_classes_and_noise_in_the_last_digits_changes_nothing() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0, 0.0]], dtype=torch.float64)
    assert order(logits).tolist() == [[1, 2, 0, 3]]
    assert order(logits + torch.tensor([0, 0, 1e-12, 0])).tolist() == [[1, 2, 0, 3]]
    x = torch.arange(4)
    assert torch.equal(from_ranks(to_ranks(x, logits.expand(4, -1)), logits.expand(4, -1)), x)


def test_samples_follow_the_exact_probabilities(layers: list[str]) -> None:
    # A chi-square test at 1e-4 for each of the four stacks.
    flow = wild_flow(layers, 4, 2)
    n = 8000
    drawn = flow.sample([torch.Generator().manual_seed(k) for k in range(n)])
    states = every(4, 2)
    expected = n * flow.log_prob(states).exp()
    cell = (drawn * torch.tensor([8, 4, 2, 1])).sum(1)
    counts = torch.bincount(cell, minlength=16).double()
    rare = expected < 5
    seen = torch.cat([counts[~rare], counts[rare].sum()[None]])
    wanted = torch.cat([expected[~rare], expected[rare].sum()[None]])
    keep = wanted > 0
    statistic = float(((seen - wanted)[keep] ** 2 / wanted[keep]).sum())
    assert statistic < chi2.ppf(1 - 1e-4, int(keep.sum()) - 1)


def test_a_perfect_network_leaves_the_entropy_of_x1_and_of_the_rank() -> None:
    # 8 Gaussians by one coupling with the exact conditional: 6.387 nats, against 6.320 of the data.
    p = gaussians.probabilities()
    assert abs(gaussians.entropy() - 6.320) < 5e-4
    first = p.sum(1)
    ranks = torch.sort(p, dim=1, descending=True).values.sum(0)
    ideal = -float((torch.special.xlogy(first, first)).sum() + torch.special.xlogy(ranks, ranks).sum())
    assert abs(ideal - 6.387) < 5e-4


def test_drawn_gaussians_have_the_probabilities_that_their_entropy_is_of(source: torch.Generator) -> None:
    # False alarms: 1e-4.
    drawn = gaussians.draw(40_000, source)
    logs = gaussians.probabilities()[drawn[:, 0], drawn[:, 1]].log()
    deviation = abs(float(-logs.mean()) - gaussians.entropy()) / float(logs.std() / math.sqrt(len(logs)))
    assert deviation < 3.9


@pytest.mark.slow
def test_eight_gaussians_are_learned_to_a_tenth_of_a_nat_on_fresh_samples() -> None:
    source = torch.Generator().manual_seed(0)
    train, valid, fresh = (gaussians.draw(n, source) for n in (30_000, 5_000, 20_000))
    flow = DiscreteFlow({"dimensions": 2, "classes": 91, "width": 128, "depth": 2, "layers": []})
    records = fit(
        flow, train, valid, ("coupling",) * 3, FitOptions(epochs=4, batch=512, learning_rate=3e-3), source
    )
    nats = -flow.double().log_prob(fresh)
    # The standard error is 0.008 nats, and 6.39 was measured: 6.42 is three of them above.
    assert float(nats.mean()) < gaussians.entropy() + 0.1
    total = torch.cat([flow.log_prob(part) for part in every(2, 91).split(4096)]).exp().sum()
    assert abs(float(total) - 1) < 1e-9
    assert records[0].kept and records[0].after < records[0].before - 0.5


# --- greedy training ---------------------------------------------------------------------------------------


def copied_bits(n: int, source: torch.Generator) -> Tensor:
    """Eight bits, the last four equal to the first four but for one error in twenty."""
    half = torch.randint(2, (n, 4), generator=source)
    wrong = (torch.rand(n, 4, generator=source) < 0.05).long()
    return torch.cat([half, half ^ wrong], 1)


def test_a_layer_that_does_not_help_held_out_data_is_left_out_and_one_that_does_is_kept() -> None:
    source = torch.Generator().manual_seed(5)
    noise = [torch.randint(2, (400, 8), generator=source) for _ in range(2)]
    options = FitOptions(epochs=8, batch=64, learning_rate=1e-2)
    flow = DiscreteFlow({"dimensions": 8, "classes": 2, "width": 32, "depth": 1, "layers": []})
    record, _, _ = next_layer(flow, "split", *map(Moving.start, noise), options, source)
    assert not record.kept and not len(flow.layers) and record.after > record.before - options.threshold

    train, valid = copied_bits(2000, source), copied_bits(500, source)
    records = fit(flow, train, valid, ("coupling", "coupling", "split", "split"), options, source)
    exact = 4 * math.log(2) - 4 * (0.05 * math.log(0.05) + 0.95 * math.log(0.95))
    assert any(record.kept for record in records)
    reached = -float(flow.double().log_prob(valid).mean())
    assert abs(reached - records[-1].after if records[-1].kept else records[-1].before - reached) < 1e-3
    assert exact - 0.3 < reached < exact + 0.3 < 8 * math.log(2)


def test_growing_again_from_a_checkpoint_gives_the_same_flow(tmp_path: Path) -> None:
    from models.training import greedy
    from models.training.loop import Run
    from models.training.recipe import Recipe

    class Bits:
        content_hash = "none"

        def __init__(self, n: int, seed: int) -> None:
            self.bits = {
                "maccs": copied_bits(n, torch.Generator().manual_seed(seed)).numpy().astype(np.uint8)
            }

        def __len__(self) -> int:
            return len(self.bits["maccs"])

    def made() -> FingerprintDDF:
        return FingerprintDDF(FingerprintDDF.config_for({"width": 8, "depth": 1}, Bits(1, 0)))

    loss = {"epochs": 2, "batch": 64, "learning_rate": 1e-2, "maccs": ["coupling", "split", "split"]}
    recipe = Recipe(name="x", family="ddf", data="x", loss=loss)
    train, valid = Bits(1000, 1), Bits(300, 2)
    whole, parts = made(), made()
    assert isinstance(whole, greedy.Greedy)
    greedy.train(recipe, whole, train, valid, Run(tmp_path / "whole"))
    greedy.train(recipe, parts, train, valid, Run(tmp_path / "parts", time_limit=0.0))
    again = made()
    progress = greedy.train(recipe, again, train, valid, Run(tmp_path / "parts", resume=True))
    assert progress.step == 3 and len(parts.flow("maccs").layers) <= len(again.flow("maccs").layers)
    assert again.config == whole.config
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


# --- baselines, library, fingerprints -------------------------------------------------------------------------


def test_the_tree_and_independent_bits_sum_to_one_and_the_tree_is_the_better_on_what_it_counted() -> None:
    bits = copied_bits(2000, torch.Generator().manual_seed(3)).numpy().astype(np.uint8)
    found = Baselines(8)
    found.fit(bits)
    states = every(8, 2)
    for log_prob in (found.bernoulli, found.chow_liu):
        assert abs(float(log_prob(states).exp().sum()) - 1) < 1e-6
    data = torch.from_numpy(bits)
    assert float(found.chow_liu(data).mean()) > float(found.bernoulli(data).mean()) + 1.0


def test_the_tree_finds_the_edges_of_a_chain() -> None:
    source = np.random.default_rng(0)
    chain = [source.random(20_000) < 0.5]
    for _ in range(5):
        chain.append(chain[-1] ^ (source.random(20_000) < 0.1))
    shuffled = [3, 0, 5, 1, 4, 2]
    tree = chow_liu(np.stack(chain, 1).astype(np.uint8)[:, shuffled])
    edges = {frozenset((shuffled[i], shuffled[int(p)])) for i, p in enumerate(tree.parent) if i != p}
    assert edges == {frozenset((k, k + 1)) for k in range(5)}


def test_a_bit_that_never_changes_does_not_cut_the_tree() -> None:
    bits = copied_bits(500, torch.Generator().manual_seed(3)).numpy().astype(np.uint8)
    bits[:, 0] = 0  # the bit that the tree is grown from
    tree = chow_liu(bits)
    assert (tree.parent == np.arange(8)).sum() == 1
    assert {tuple(sorted((k, int(tree.parent[k])))) for k in range(8)} >= {(1, 5), (2, 6), (3, 7)}


def test_samples_of_the_tree_follow_its_probabilities() -> None:
    # A chi-square test at 1e-4.
    bits = copied_bits(500, torch.Generator().manual_seed(3)).numpy().astype(np.uint8)[:, [0, 1, 4, 5]]
    found = Baselines(4)
    found.fit(bits)
    drawn = found.sample(8000, torch.Generator().manual_seed(1)).long()
    counts = torch.bincount((drawn * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16).double()
    wanted = 8000 * found.chow_liu(every(4, 2)).exp()
    assert float(((counts - wanted) ** 2 / wanted).sum()) < chi2.ppf(1 - 1e-4, 15)


def test_the_nearest_molecule_is_the_one_by_brute_force() -> None:
    source = np.random.default_rng(1)
    rows = {"a": source.integers(0, 2, (50, 19)).astype(np.uint8)}
    library = Library.of([f"M{k}" for k in range(50)], rows)
    query = source.integers(0, 2, 19).astype(np.uint8)
    alike = tanimoto(query, rows["a"])
    found = library.nearest("a", query, 5)
    assert [one.tanimoto for one in found] == pytest.approx(sorted(alike, reverse=True)[:5])
    assert found[0].smiles == f"M{alike.argmax()}"
    assert library.nearest("a", rows["a"][7], 1)[0].tanimoto == 1.0


def test_fingerprints_are_those_of_the_graph_and_a_bad_smiles_says_so() -> None:
    both = fingerprints("OCC")
    assert not isinstance(both, Failure)
    same = fingerprints("CCO")
    assert not isinstance(same, Failure)
    assert {kind: len(bits) for kind, bits in both.items()} == {"maccs": 166, "morgan": 256}
    assert all((both[kind] == same[kind]).all() for kind in both)
    assert both["maccs"][163] == 1  # MACCS key 164: oxygen
    assert isinstance(fingerprint("C1CC", "morgan"), Failure)


def test_wrong_shapes_and_configurations_are_refused() -> None:
    flow = wild_flow([], 4)
    with pytest.raises(ShapeError, match=r"\[b, 4\]"):
        flow.log_prob(torch.zeros(2, 5))
    with pytest.raises(ConfigError, match="butterfly"):
        flow.new_layer("butterfly")
    with pytest.raises(ConfigError, match="nothing is left"):
        wild_flow(["split", "split", "split"], 4)
    with pytest.raises(ConfigError, match="tea"):
        DiscreteFlow({**flow.config, "tea": 1})
