"""Argmax flows: supports, Jacobians, inverses, and bounds against marginals that quadrature gives exactly."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.argmax_flow.autoregressive import Autoregressive
from models.argmax_flow.bound import score
from models.argmax_flow.codes import Codes
from models.argmax_flow.coupling import SPLITS, Coupling, PlaceLinear
from models.argmax_flow.model import ArgmaxFlow
from models.argmax_flow.posterior import KINDS, Kind, Posterior
from models.argmax_flow.sampling import between, path, sample
from models.argmax_flow.univariate import Univariate
from models.core.errors import ConfigError
from models.core.random import generator
from models.core.thresholds import squeezed_below
from models.survae.contract import Layer, Noise
from models.survae.flow import importance_weighted

NETWORK = {"width": 8, "layers": 1, "heads": 2, "hidden": 16}
FLOWS = {
    "autoregressive affine": {"kind": "autoregressive", "hidden": 16, "network": NETWORK},
    "autoregressive spline": {"kind": "autoregressive", "bins": 5, "hidden": 16, "network": NETWORK},
    "coupling affine": {"kind": "coupling", "rounds": 1, "network": NETWORK},
    "coupling spline": {"kind": "coupling", "bins": 5, "rounds": 1, "network": NETWORK},
}
BASES = [(2, 2), (5, 2), (3, 3), (7, 3)]
"""Tokens and base: exact and with codes to spare, of one digit and of more."""


def shaken(module: torch.nn.Module, seed: int = 0, size: float = 0.1) -> torch.nn.Module:
    """Every parameter random, so that no law holds only at the start."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += size * torch.randn(parameter.shape, generator=source)
    return module.eval()


def tiny(
    flow: str = "autoregressive spline", *, tokens: int = 5, base: int = 2, kind: str = "softplus"
) -> ArgmaxFlow:
    """A small model of strings of 1 to 8 tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ArgmaxFlow(
            {
                "tokens": list("CNOFSPBI"[:tokens]), "longest": 8, "lengths": {"2": 3, "4": 5}, "base": base,
                "posterior": {"kind": kind}, "flow": FLOWS[flow],
            }
        )  # fmt: skip
    shaken(model, size=0.05 if "coupling" in flow else 0.12)  # far from the identity, without needles
    return model.requires_grad_(False)


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


# --- codes and posteriors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "base"), [*BASES, (24, 2), (24, 24), (27, 3)])
def test_digits_tell_tokens_apart_in_as_few_numbers_as_the_paper_has(tokens: int, base: int) -> None:
    codes = Codes(tokens, base)
    assert codes.digits == math.ceil(math.log(tokens) / math.log(base) - 1e-9)
    digits = codes.digits_of(torch.arange(tokens))
    assert len({tuple(row) for row in digits.tolist()}) == tokens and int(digits.max()) < base
    v = F.one_hot(digits, base).double().flatten(1) if base > 2 else 2.0 * digits - 1
    assert codes.tokens_of(v).tolist() == list(range(tokens))


@pytest.mark.parametrize("base", [1, 6])
def test_a_base_that_makes_no_digits_is_refused(base: int) -> None:
    with pytest.raises(ConfigError, match="base"):
        Codes(5, base)


def posterior(kind: Kind, tokens: int, base: int, *, network: bool = False) -> Posterior:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = Posterior(Codes(tokens, base), kind, 8, NETWORK if network else None)
    shaken(layer, size=1.0)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("tokens", "base"), BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_posterior_draws_only_values_that_point_at_its_tokens(
    kind: Kind, tokens: int, base: int, dtype: torch.dtype
) -> None:
    layer = posterior(kind, tokens, base, network=True)
    with torch.no_grad():
        layer.table.weight.mul_(20)  # extreme parameters: bounds and rounding
    x = torch.arange(tokens).repeat(2000, 1)
    p = layer.parameters_of(x).to(dtype)
    eps = noise().normal(p, p.shape[1:3])
    v, minus_log_q = layer.moved(x, p, eps)
    assert torch.equal(layer.inverse(v, None, noise()), x)
    assert v.isfinite().all() and minus_log_q.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("tokens", "base"), BASES)
def test_a_posterior_counts_the_density_that_it_draws_from(kind: Kind, tokens: int, base: int) -> None:
    """log q(v | x) against the log-determinant of the way from its normal numbers."""
    layer = posterior(kind, tokens, base)
    for token in range(tokens):
        x = torch.tensor([[token]])
        p = layer.parameters_of(x).double()
        eps = noise(token).normal(p, p.shape[1:3])
        jacobian = torch.autograd.functional.jacobian(
            lambda e, x=x, p=p: layer.moved(x, p, e.view(1, 1, -1)).value.flatten(), eps.flatten()
        )
        log_normal = -0.5 * float(eps.square().sum()) - 0.5 * eps.numel() * math.log(2 * math.pi)
        expected = log_normal - float(torch.linalg.slogdet(jacobian)[1])
        assert -float(layer.moved(x, p, eps).contribution) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_posterior_of_one_sign_integrates_to_one(kind: Kind) -> None:
    """E_q[1 / q] over an interval is its width."""
    layer = posterior(kind, 2, 2)
    x = torch.ones(400_000, 1, dtype=torch.long)
    p = layer.parameters_of(x[:1]).double().expand(len(x), -1, -1, -1)
    v, minus_log_q = layer.moved(x, p, noise(3).normal(p, (1, 1)))
    v = v.flatten()
    for low, high in ((0.3, 0.6), (0.6, 1.5), (1.5, 3.0)):
        inside = ((v >= low) & (v < high)).double() * minus_log_q.exp()
        error = float(inside.std()) / math.sqrt(len(v))
        # a false alarm in 16,000 for each of nine intervals
        assert abs(float(inside.mean()) - (high - low)) < 4 * error


def test_the_gumbel_posterior_of_a_larger_base_is_gumbel_noise_that_the_token_won() -> None:
    """Drawn by rejection: first and second moments agree, six z-tests at 4.5, one false alarm in 24,000."""
    layer = posterior("gumbel", 3, 3)
    p = layer.parameters_of(torch.tensor([[1]])).double()
    phi = p[0, 0, :, 0]
    free = phi - (-noise(5).uniform(phi.expand(300_000, -1), (3,)).log()).log()
    won = free[free.argmax(1) == 1]
    x = torch.ones(100_000, 1, dtype=torch.long)
    p = p.expand(len(x), -1, -1, -1)
    v = layer.moved(x, p, noise(6).normal(p, (1, 3))).value[:, 0]
    for power in (1, 2):
        a, b = won**power, v**power
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * error).all()


def test_the_threshold_is_below_the_top_even_where_rounding_would_make_it_equal() -> None:
    u = torch.tensor([-5.0, 0.0, 30.0, 1e6])
    v, slope = squeezed_below(u, torch.ones(4))
    assert (v < 1).all() and float(v[0]) == pytest.approx(-5, abs=0.01) and slope.isfinite().all()


# --- bijections -----------------------------------------------------------------------------------------------------


@functools.cache
def layers() -> dict[str, Layer]:
    found: dict[str, Layer] = {"place linear": PlaceLinear(3)}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for bins in (0, 5):
            univariate = Univariate(bins)
            codes = Codes(5, 2)
            found[f"autoregressive {bins}"] = Autoregressive(codes, univariate, 8, NETWORK, 16)
            for split in SPLITS:
                found[f"coupling {split} {bins}"] = Coupling(codes, univariate, 8, NETWORK, split)
        found["autoregressive base 3"] = Autoregressive(Codes(5, 3), Univariate(5), 8, NETWORK, 16)
        found["coupling base 3"] = Coupling(Codes(5, 3), Univariate(5), 8, NETWORK, "odd")
    for layer in found.values():
        shaken(layer, size=0.1).double()
    return found


@pytest.mark.parametrize("name", list(layers()))
def test_a_layer_tells_its_log_determinant_and_is_inverted_by_its_inverse(name: str) -> None:
    layer = layers()[name].requires_grad_(False)
    channels = 6 if "base 3" in name else 3
    x = noise(4).normal(torch.zeros(4, dtype=torch.float64), (3, channels))
    z, contribution = layer(x, None, noise())
    assert not torch.allclose(z, x)
    for row in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(
            lambda v: layer(v.view(1, 3, channels), None, noise()).value.flatten(), x[row].flatten()
        )
        assert contribution[row].item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    torch.testing.assert_close(layer.inverse(z, None, noise()), x, atol=1e-8, rtol=1e-8)


def test_a_place_is_moved_by_places_before_it_and_by_the_length_only() -> None:
    layer = layers()["autoregressive 5"].requires_grad_(False)
    x = noise(4).normal(torch.zeros(1, dtype=torch.float64), (4, 3))
    z = layer(x, None, noise()).value
    changed = x.clone()
    changed[:, 2, 1] += 0.5
    other = layer(changed, None, noise()).value
    same = torch.isclose(z, other)[0]
    assert same[:2].all() and same[2, 0] and not same[2, 1] and not same[2, 2] and not same[3].any()
    shorter = layer(x[:, :3], None, noise()).value
    assert not torch.isclose(shorter, z[:, :3]).any()


# --- whole models ---------------------------------------------------------------------------------------------------


def exact(model: ArgmaxFlow, n: int, half: float = 12.0, cells: int = 200) -> Tensor:
    """p(x | n) of every string of codes, by the midpoint rule over R^(n channels): flow mass in each region.

    The grid has an edge at zero, so that no cell lies in two regions of base 2, and is shifted a little from channel
    to channel, so that no two are equal in a larger base.
    """
    edges = torch.linspace(-half, half, cells + 1, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    size = n * model.codes.channels
    shift = 2 * half / cells / size if model.codes.base > 2 else 0.0
    grid = torch.cartesian_prod(*[middle + k * shift for k in range(size)]).view(-1, n, model.codes.channels)
    mass = (
        torch.cat([model.log_density(part) for part in grid.split(60_000)]).exp() * (2 * half / cells) ** size
    )
    powers = model.codes.size ** torch.arange(n - 1, -1, -1)
    where = (model.codes.code_of(grid) * powers).sum(1)
    return torch.zeros(model.codes.size**n, dtype=torch.float64).index_add_(0, where, mass)


def draws_of(model: ArgmaxFlow, tokens: Tensor, count: int, seed: int) -> Tensor:
    """Draws of the bound, `[count, rows]`."""
    source = noise(seed)
    return torch.stack([model.once(tokens, source).double() for _ in range(count)])


CASES = [(flow, kind) for flow in FLOWS for kind in KINDS]


@pytest.mark.parametrize(("flow", "kind"), CASES)
def test_the_bound_lies_below_the_exact_marginal_and_rises_to_it_with_the_draws(flow: str, kind: str) -> None:
    """Two tokens in two places: R^2, four strings. All statements by z-tests at 4.5 (one false alarm in 147,000).

    Weights of the Gumbel kind are bounded. Those of the others have no variance, because a log-normal number is
    hardly ever near zero: their mean comes from below, and 10 % is allowed for it.
    """
    slack = 5e-3 if kind == "gumbel" else 0.1
    model = tiny(flow, tokens=2, kind=kind)
    truth = exact(model, 2)
    assert float(truth.sum()) == pytest.approx(1, abs=2e-3)
    strings = torch.tensor(list(itertools.product(range(2), repeat=2)))
    found = draws_of(model, strings.repeat(128, 1), 64, 1).view(64, 128, 4)
    # unbiased: the mean weight is the marginal, and all strings together have the whole mass
    weights = found.flatten(0, 1).exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - truth).abs() < 4.5 * error + slack * truth).all()
    assert abs(float(weights.mean(0).sum()) - 1) < 4.5 * float(error.norm()) + slack
    bounds = [importance_weighted(found[:k])[0] if k > 1 else found[0] for k in (1, 4, 64)]
    for bound in bounds:  # each is a mean over 128 independent estimates
        error = bound.std(0) / math.sqrt(128)
        assert (bound.mean(0) < truth.log() + 4.5 * error + 5e-3).all()
    assert float(bounds[0].mean(0).exp().sum()) <= 1
    for fewer, more in itertools.pairwise(bounds):
        error = (more - fewer).std(0) / math.sqrt(128)
        assert ((more - fewer).mean(0) > -4.5 * error).all()
    assert float((bounds[-1] - bounds[0]).mean()) > 0


def test_a_base_of_three_is_exact_too() -> None:
    """Three tokens, one place: R^3. The midpoint rule is coarse where two entries tie, hence the tolerance of 2 %."""
    model = tiny("autoregressive affine", tokens=3, base=3, kind="gumbel")
    truth = exact(model, 1, half=9.0, cells=60)
    assert float(truth.sum()) == pytest.approx(1, abs=5e-3)
    weights = draws_of(model, torch.arange(3)[:, None].repeat(4096, 1), 16, 2).view(-1, 3).exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - truth).abs() < 4.5 * error + 0.02 * truth).all()


def test_codes_to_spare_are_mass_that_no_string_has_and_are_still_read() -> None:
    """Three tokens in base 2 leave one code: the strings' estimates sum to one less its mass."""
    model = tiny(tokens=3, kind="gumbel")
    truth = exact(model, 1)
    weights = draws_of(model, torch.arange(3)[:, None].repeat(4096, 1), 16, 2).view(-1, 3).exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - truth[:3]).abs() < 4.5 * error + 5e-3 * truth[:3]).all()
    assert float(weights.mean(0).sum()) < 1 - float(truth[3]) + 4.5 * float(error.norm()) + 5e-3
    drawn = model.decode(noise(3).normal(torch.zeros(500, dtype=torch.float64), (1, 2)))
    assert set(drawn.flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("flow", FLOWS)
def test_samples_follow_the_exact_marginal(flow: str) -> None:
    """Four strings, 20,000 draws: every share within 4.5 standard errors, a false alarm in 36,000 a model."""
    model = tiny(flow, tokens=2)
    truth = exact(model, 2)
    z = noise(7).normal(torch.zeros(20_000, dtype=torch.float64), (2, 1))
    drawn = (model.decode(z) * torch.tensor([2, 1])).sum(1).bincount(minlength=4) / 20_000
    assert ((drawn - truth).abs() < 4.5 * (truth * (1 - truth) / 20_000).sqrt() + 5e-3).all()


@pytest.mark.parametrize(("flow", "kind"), CASES)
def test_every_parameter_gets_a_gradient(flow: str, kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ArgmaxFlow(tiny(flow, kind=kind).config | {"posterior": {"kind": kind, "network": NETWORK}})
    shaken(model, size=0.12)
    tokens = torch.randint(5, (64, 8), generator=generator(1))
    model.loss(type("Batch", (), {"tokens": tokens}), options={}, generator=generator(2))[
        "loss"
    ].mean().backward()
    unused = ("distance.weight",)  # offsets of the longest strings that the two halves never see
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith(unused), name


@pytest.mark.parametrize("flow", FLOWS)
def test_a_seed_gives_the_same_string_alone_and_in_any_batch(flow: str) -> None:
    model = tiny(flow)
    together = sample(model, range(40), temperature=0.9)
    assert [sample(model, [seed], temperature=0.9)[0] for seed in (0, 7, 39)] == [
        together[k] for k in (0, 7, 39)
    ]
    assert len({tuple(ids or ()) for ids in together}) > 10
    assert all(len(ids or ()) == 3 for ids in sample(model, range(5), bounds=(3, 3)))
    cold = sample(model, range(8), bounds=(3, 3), temperature=0.0)
    assert len({tuple(ids or ()) for ids in cold}) == 1
    with pytest.raises(ConfigError, match="temperature"):
        sample(model, [1], temperature=-1.0)


def test_a_sampler_that_is_told_to_stop_keeps_what_is_finished() -> None:
    model = tiny()
    calls: list[int] = []
    made = sample(model, range(40), stopped=lambda: len(calls) >= 5, stepped=calls.append)
    assert len(calls) == 5 and None in made
    whole = sample(model, range(40))
    assert [ids for ids in made if ids] == [ids for ids, kept in zip(whole, made, strict=True) if kept]


def test_a_score_tells_its_parts_and_depends_on_its_seed_only() -> None:
    model = tiny()
    found = score(model, [0, 3, 1], 5, 200)
    assert found.kind == "lower_bound" and found.draws == 200 and found.standard_error > 0
    assert sum(found.terms.values()) == pytest.approx(found.value)
    assert found.terms["weighting"] > 0 and found.terms["length"] == pytest.approx(model.lengths.log_prob(3))
    assert score(model, [0, 3, 1], 5, 200) == found != score(model, [0, 3, 1], 6, 200)
    assert score(model, [0, 3, 1], 5, 1).standard_error == math.inf
    with pytest.raises(InterruptedError):
        score(model, [0], 5, 8, stopped=lambda: True)


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("tokens", "base"), [(5, 2), (7, 3)])
@pytest.mark.parametrize("way", ["spherical", "linear"])
def test_a_path_begins_and_ends_at_its_molecules(flow: str, tokens: int, base: int, way: str) -> None:
    model = tiny(flow, tokens=tokens, base=base)
    start, end = [0, 1, 2], [4, 3, 2, 1, 0, 0]
    positions = [0.0, 0.2, 0.5, 0.8, 1.0]
    for seed in range(5):
        stops = path(model, start, end, positions, seed, way=way)  # type: ignore[arg-type]
        assert list(stops[0].tokens) == start and list(stops[-1].tokens) == end
        assert [len(stop.tokens) for stop in stops] == [3, 4, 4, 5, 6]
        assert path(model, start, end, [0.5], seed, way=way) == [stops[2]]  # type: ignore[arg-type]


def test_a_spherical_path_stays_as_far_from_zero_as_its_ends() -> None:
    start, end = noise(1).normal(torch.zeros(2, dtype=torch.float64), (30, 5))
    arc = torch.stack([between(start, end, at / 8, "spherical").norm() for at in range(9)])
    assert arc.min() > 0.95 * min(start.norm(), end.norm()) and arc.max() < 1.05 * max(
        start.norm(), end.norm()
    )
    assert between(start, end, 0.5, "linear").norm() < 0.8 * arc[4]
    torch.testing.assert_close(between(start, start, 0.5, "spherical"), start)
    with pytest.raises(ConfigError, match="way"):
        path(tiny(), [0], [1], [0.5], 1, way="straight")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"flow": {"kind": "circular", "network": NETWORK}}, {"posterior": {"kind": "sharp"}}, {"colour": 1},
     {"flow": {"kind": "coupling", "rounds": 1, "hidden": 3, "network": NETWORK}},
     {"flow": {"kind": "autoregressive", "hidden": 8, "bins": 1, "network": NETWORK}}],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ArgmaxFlow(tiny().config | change)
