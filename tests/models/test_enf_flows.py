"""The E-NF's densities: change of variables, symmetries, both traces, and what each part must integrate to."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import jacfwd
from torch.nn import functional as F

from models.core.centered import LOG_TWO_PI, remove_mean
from models.core.divergence import centered_directions
from models.core.errors import CheckpointError, ConfigError
from models.core.ode import Solver
from models.edm.features import AtomFeatures
from models.egnn.config import EGNNConfig
from models.enf.actnorm import ActNorm
from models.enf.dequantize import ArgmaxDequantizer, GaussianDequantizer, normal_log_prob
from models.enf.field import VectorField
from models.enf.likelihood import Quadrature, log_prob, parts_of
from models.enf.model import ENF
from models.enf.ode import carry, centered_state
from models.enf.published import from_published
from models.enf.quadrature import carry_exactly

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
STEPS = Solver("rk4", steps=4)
TIGHT = Solver(tolerance=1e-7)


@pytest.fixture
def molecules() -> tuple[Tensor, Tensor]:
    """Three molecules of four atoms: numbers and centered positions in Angstrom."""
    source = torch.Generator().manual_seed(4)
    numbers = torch.tensor([[6, 1, 8, 1], [7, 6, 1, 1], [6, 6, 8, 7]])
    return numbers, remove_mean(1.2 * torch.randn(3, 4, 3, generator=source, dtype=torch.float64))


def features_for(model: ENF, numbers: Tensor, x: Tensor) -> Tensor:
    """Dequantized features, as the flow meets them."""
    return model.dequantizer(numbers, x, noise_for(model, numbers))[0]


def noise_for(model: ENF, numbers: Tensor, channels: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(6)
    width = channels or model.features.channels
    return torch.randn(*numbers.shape, width, generator=source, dtype=torch.float64)


# --- symmetries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [STEPS, Solver(tolerance=1e-2), Quadrature(8, 1)], ids=["fixed", "adaptive", "quadrature"]
)
def test_the_likelihood_does_not_change_when_the_molecule_is_turned_moved_or_relabeled(
    enf: ENF, molecules: tuple[Tensor, Tensor], rotation: Callable[..., Tensor], source: torch.Generator,
    method: Solver | Quadrature,
) -> None:  # fmt: skip
    numbers, x = molecules
    noise = noise_for(enf, numbers)
    expected = parts_of(enf, numbers, x, noise, method)[0].total()
    for reflect in (False, True):
        turned = remove_mean(x @ rotation(source, reflect=reflect).T + 1.7)
        torch.testing.assert_close(
            parts_of(enf, numbers, turned, noise, method)[0].total(), expected, **CLOSE
        )
    order = torch.tensor([2, 0, 3, 1])
    found = parts_of(enf, numbers[:, order], x[:, order], noise[:, order], method)[0].total()
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_molecules_likelihood_is_the_same_alone_and_in_any_batch(enf: ENF) -> None:
    source = np.random.default_rng(0)
    sizes = [4, 3, 4, 2, 4]
    numbers = [source.choice([1, 6, 7, 8], n) for n in sizes]
    positions = [source.normal(size=(n, 3)) for n in sizes]
    for trace in ("exact", "hutchinson"):
        options = {"trace": trace, "draws": 2, "method": Solver(tolerance=1e-2)}
        together = log_prob(enf, numbers, positions, list(range(5)), **options)
        for k in (0, 3):
            alone = log_prob(enf, [numbers[k]], [positions[k]], [k], **options)[0]
            assert alone.value == pytest.approx(together[k].value, abs=1e-9)
            assert alone.standard_error == pytest.approx(together[k].standard_error, abs=1e-9)


def test_a_sample_is_the_same_alone_and_in_any_batch(enf: ENF) -> None:
    sizes = [4, 2, 4, 5, 4]
    together = enf.sample(sizes, list(range(5)))
    for k in (0, 1, 4):
        alone = enf.sample([sizes[k]], [k])[0]
        assert alone.numbers.tolist() == together[k].numbers.tolist()
        np.testing.assert_allclose(alone.positions, together[k].positions, atol=1e-9)


# --- change of variables ------------------------------------------------------------------------------------


def test_the_change_of_volume_is_the_determinant_of_the_whole_jacobian(
    enf: ENF, molecules: tuple[Tensor, Tensor]
) -> None:
    numbers, x = molecules
    h = features_for(enf, numbers, x)
    n, c = h.shape[1:]
    basis = centered_directions(n, 3, c, dtype=torch.float64).flatten(1)

    def end(flat: Tensor) -> Tensor:
        state = flat.view(1, n, 3 + c)
        out = carry(
            enf.field,
            state[..., :3],
            state[..., 3:],
            0.0,
            1.0,
            Solver("rk4", steps=16, refine=0.1),
            train=True,
        )
        return torch.cat([out.x, out.h], -1).flatten()

    state = torch.cat([x[:1], h[:1]], -1)
    jacobian = basis @ jacfwd(end)(state.flatten()) @ basis.T
    expected = torch.linalg.slogdet(jacobian)[1]
    found = carry(enf.field, x[:1], h[:1], 0.0, 1.0, TIGHT, divergence="exact")
    assert float(found.log_volume) == pytest.approx(float(expected), abs=2e-3)
    summed, _ = carry_exactly(enf.field, x[:1], h[:1], intervals=32, substeps=4)
    assert float(summed.log_volume) == pytest.approx(float(expected), abs=1e-3)


def test_the_quadratures_error_estimate_covers_its_error(make_enf: Callable[..., ENF], molecules) -> None:  # type: ignore[no-untyped-def]
    model, (numbers, x) = make_enf("molecule"), molecules
    h, _ = model.dequantizer(numbers, x, noise_for(model, numbers))
    truth = carry(model.field, x, h, 0.0, 1.0, TIGHT, divergence="exact").log_volume
    for intervals in (16, 32):
        found, error = carry_exactly(model.field, x, h, intervals=intervals, substeps=4)
        assert bool(((found.log_volume - truth).abs() <= error + 1e-5).all())


def test_there_and_back_is_the_identity_and_undoes_the_volume(
    enf: ENF, molecules: tuple[Tensor, Tensor]
) -> None:
    numbers, x = molecules
    h = features_for(enf, numbers, x)
    there = carry(enf.field, x, h, 0.0, 1.0, TIGHT, divergence="exact")
    back = carry(enf.field, there.x, there.h, 1.0, 0.0, TIGHT, divergence="exact")
    torch.testing.assert_close(back.x, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(back.h, h, rtol=0, atol=1e-5)
    torch.testing.assert_close(back.log_volume, -there.log_volume, rtol=0, atol=1e-5)
    assert float((there.x - x).norm()) > 1e-3  # a hundred times the tolerance


def test_the_mean_of_hutchinsons_estimates_is_the_exact_trace(
    enf: ENF, molecules: tuple[Tensor, Tensor]
) -> None:
    numbers, x = molecules
    h, draws = features_for(enf, numbers, x), 150
    exact = carry(enf.field, x, h, 0.0, 1.0, STEPS, divergence="exact").log_volume
    source = torch.Generator().manual_seed(2)
    many_x, many_h = x.repeat_interleave(draws, 0), h.repeat_interleave(draws, 0)
    probe = torch.randn(len(many_x), 4, 3 + h.shape[-1], generator=source, dtype=torch.float64).sign()
    found = carry(
        enf.field, many_x, many_h, 0.0, 1.0, STEPS, divergence="hutchinson", probe=centered_state(probe, 3)
    ).log_volume.view(3, draws)
    error = found.std(1) / math.sqrt(draws)
    assert bool(((found.mean(1) - exact).abs() < 4.5 * error + 1e-9).all())  # false alarm below 1e-4


def test_the_density_of_two_particles_in_one_dimension_integrates_to_one() -> None:
    torch.manual_seed(0)
    field = VectorField(EGNNConfig.published_enf(1, 1, width=12, layers=3), 0).double().requires_grad_(False)
    for name, parameter in field.named_parameters():
        if "displacement.last" in name:
            parameter.mul_(200)
    # On the one-dimensional subspace of centered pairs, u is the length along (1, -1) / sqrt(2).
    u = torch.linspace(-9.0, 9.0, 1201, dtype=torch.float64)
    x = u[:, None, None] * torch.tensor([[1.0], [-1.0]], dtype=torch.float64) / math.sqrt(2)
    end = carry(field, x, x.new_zeros(*x.shape[:2], 0), 0.0, 1.0, Solver(tolerance=1e-8), divergence="exact")
    log_p = -0.5 * end.x.square().sum((-1, -2)) - 0.5 * LOG_TWO_PI + end.log_volume
    assert float((end.x - x).abs().max()) > 0.3
    assert float(torch.trapezoid(log_p.exp(), u)) == pytest.approx(1.0, abs=1e-4)


def test_one_atom_is_a_molecule_too(enf: ENF) -> None:
    found = log_prob(enf, [np.array([6])], [np.zeros((1, 3))], [0], method=Solver(tolerance=1e-4))[0]
    assert found.value == -math.inf  # no training molecule is so small
    assert math.isfinite(sum(value for name, value in found.terms.items() if name != "size"))


# --- the parts ----------------------------------------------------------------------------------------------


def dequantizers() -> dict[str, GaussianDequantizer | ArgmaxDequantizer]:
    features = AtomFeatures((1, 6, 7), 1.0, 1.0, None)
    charged = AtomFeatures((1, 6, 7), 1.0, 1.0, 1.0)
    torch.manual_seed(0)
    network = EGNNConfig.published_enf(
        4, 8, width=8, layers=2, attention=False, bounded=False, input_distance=False
    )
    argmax = ArgmaxDequantizer(charged, network).double().requires_grad_(False)
    argmax.network.embedding_out.weight.mul_(0.3)  # sizes of the noise near 1
    argmax.network.embedding_out.bias.mul_(0.3)
    return {"gaussian": GaussianDequantizer(features, 0.6, 0.8), "argmax": argmax}


def test_the_gaussian_dequantizers_density_is_normalized_on_the_region_of_its_elements() -> None:
    """E_q[f(h) / q(h)] is the mass that f gives to that region; for a narrow normal f it is known."""
    q, draws, width = dequantizers()["gaussian"], 100_000, 0.5
    source = torch.Generator().manual_seed(1)
    numbers = torch.tensor([[6, 1]])
    x = torch.tensor([[[0.5, 0, 0], [-0.5, 0, 0]]], dtype=torch.float64)
    noise = torch.randn(draws, 2, q.channels, generator=source, dtype=torch.float64)
    kept = noise[q.keeps(numbers.expand(draws, -1), noise)]
    h, log_q = q(numbers.expand(len(kept), -1), x.expand(len(kept), -1, -1), kept)
    assert bool((q.decode(h) == numbers).all())
    log_f = (-0.5 * (h / width).square() - math.log(width) - 0.5 * LOG_TWO_PI).sum((-1, -2))
    expected = (1 / 3) ** 2
    weight = (log_f - log_q).exp()
    error = float(weight.std()) / math.sqrt(len(weight))
    assert error < 0.05 * expected
    assert abs(float(weight.mean()) - expected) < 4.5 * error  # false alarm below 1e-5


def test_the_published_dequantizers_density_is_that_of_its_noise_changed_by_the_jacobian() -> None:
    q = dequantizers()["argmax"]
    source = torch.Generator().manual_seed(1)
    numbers = torch.tensor([[6, 1]])
    x = torch.tensor([[[0.5, 0, 0], [-0.5, 0, 0]]], dtype=torch.float64)
    for _ in range(5):
        noise = torch.randn(1, 2, q.channels, generator=source, dtype=torch.float64)
        h, log_q = q(numbers, x, noise)
        jacobian = jacfwd(lambda flat: q(numbers, x, flat.view(1, 2, -1))[0].flatten())(noise.flatten())
        volume = torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(log_q[0], normal_log_prob(noise)[0] - volume, **CLOSE)
        assert bool((q.decode(h) == numbers).all())
        place = h[..., 3] - numbers  # a charge Z lives in Z..Z+1
        assert bool(((place > 0) & (place < 1)).all())


def test_the_scales_jacobian_is_that_of_the_subspace_and_the_published_one_is_not(
    source: torch.Generator,
) -> None:
    n, c = 4, 2
    right = ActNorm(c, scale=1.7, jacobian="corrected").double().requires_grad_(False)
    wrong = ActNorm(c, scale=1.7, jacobian="published").double().requires_grad_(False)
    for norm in (right, wrong):
        norm.h_log_s.copy_(torch.tensor([0.3, -0.8]))
        norm.h_t.copy_(torch.tensor([1.0, -2.0]))
    basis = centered_directions(n, 3, c, dtype=torch.float64).flatten(1)

    def out(flat: Tensor) -> Tensor:
        state = flat.view(n, 3 + c)
        x, h, _ = right(state[:, :3], state[:, 3:])
        return torch.cat([x, h], -1).flatten()

    x = remove_mean(torch.randn(n, 3, generator=source, dtype=torch.float64))
    h = torch.randn(n, c, generator=source, dtype=torch.float64)
    jacobian = basis @ jacfwd(out)(torch.cat([x, h], -1).flatten()) @ basis.T
    z_x, z_h, log_det = right(x, h)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], **CLOSE)
    torch.testing.assert_close(wrong(x, h)[2], log_det - 3 * right.x_log_s, **CLOSE)
    back = right.inverse(z_x, z_h)
    torch.testing.assert_close(back[0], x, **CLOSE)
    torch.testing.assert_close(back[1], h, **CLOSE)


def test_the_parts_add_up_and_log_p_of_the_size_is_one_of_them(enf: ENF) -> None:
    numbers, positions = [np.array([6, 1, 8])], [np.random.default_rng(1).normal(size=(3, 3))]
    found = log_prob(enf, numbers, positions, [7], draws=3, method=STEPS)[0]
    assert found.kind == "lower_bound"
    assert found.draws == 3
    assert sum(found.terms.values()) == pytest.approx(found.value)
    assert found.terms["size"] == pytest.approx(math.log(10 / 39))
    assert found.standard_error > 0


def test_scoring_stops_when_asked_to(enf: ENF) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(InterruptedError):
        log_prob(enf, [np.array([6, 1])], [np.eye(2, 3)], [0], method=STEPS, cancelled=cancelled)
    assert len(asked) == 4


# --- training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["molecule", "published"])
@pytest.mark.parametrize("loss", ["matching", "likelihood"])
def test_both_losses_reach_every_parameter_that_they_can_teach(
    make_enf: Callable[..., ENF], kind: str, loss: str
) -> None:
    model = make_enf(kind).float().requires_grad_(True).train()
    batch = SimpleNamespace(z=torch.tensor([6, 1, 8, 1, 7, 6, 1, 1]), pos=torch.randn(8, 3), num_graphs=2)
    found = model.loss(batch, options={"kind": loss, "steps": 3}, generator=torch.Generator().manual_seed(0))
    assert all(value.shape == (2,) for value in found.values())
    found["loss"].sum().backward()
    dead = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # The last output channel is time's, the dequantizer's last block moves points that nobody looks at again, and our
    # own scales are constants.
    allowed = {name for name in dead if "actnorm" in name and kind == "molecule"}
    last = "dequantizer.network.blocks.1.displacement"
    assert {name for name in dead - allowed if not name.startswith(last)} == set()


def test_the_likelihood_loss_is_the_negative_likelihood(make_enf: Callable[..., ENF]) -> None:
    model = make_enf("published")
    source = torch.Generator().manual_seed(3)
    numbers = torch.tensor([[6, 1, 8]])
    x = remove_mean(torch.randn(1, 3, 3, generator=source, dtype=torch.float64))
    copies = 150
    batch = SimpleNamespace(z=numbers.flatten().repeat(copies), pos=x[0].repeat(copies, 1), num_graphs=copies)
    options = {"kind": "likelihood", "steps": 4, "regularization": 0.0}
    losses = model.loss(batch, options=options, generator=source)["loss"].detach()
    found = log_prob(model, [numbers[0].numpy()], [x[0].numpy()], [0], draws=20, method=STEPS)[0]
    error = math.hypot(float(losses.std()) / math.sqrt(copies), found.standard_error)
    assert abs(float(losses.mean()) + found.value) < 4 * error  # false alarm below 1e-4
    assert error < 3.0


def test_flow_matching_learns_the_bond_of_a_two_atom_molecule(make_enf: Callable[..., ENF]) -> None:
    model = make_enf("molecule", coordinate_scale=0.6).float().requires_grad_(True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    source = torch.Generator().manual_seed(0)
    for _ in range(400):
        direction = F.normalize(torch.randn(64, 3, generator=source), dim=-1)
        pos = torch.stack([0.6 * direction, -0.6 * direction], 1).flatten(0, 1)
        batch = SimpleNamespace(z=torch.tensor([8, 8]).repeat(64), pos=pos, num_graphs=64)
        optimizer.zero_grad()
        model.loss(batch, options={}, generator=source)["loss"].mean().backward()
        optimizer.step()
    model.requires_grad_(False)
    samples = model.sample([2] * 64, list(range(64)))
    lengths = np.array([np.linalg.norm(s.positions[0] - s.positions[1]) for s in samples])
    assert abs(float(np.median(lengths)) - 1.2) < 0.1
    # so small a network learns elements slowly; chance is a quarter of the atoms
    assert float(np.mean([s.numbers == 8 for s in samples])) > 0.6


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"colour": 1}, "colour"),
        ({"kind": "other"}, "other"),
        ({"charges": True}, "charges"),
        ({"type_spread": 0.0}, "positive"),
        ({"jacobian": "guessed"}, "guessed"),
        ({"kind": "published", "dequantizer": None}, "dequantizer"),
    ],
)
def test_a_model_that_cannot_be_assembled_says_why(
    make_enf: Callable[..., ENF], changes: dict[str, object], hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        ENF({**make_enf().config, **changes})


def test_a_checkpoint_of_another_network_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no E-NF network"):
        from_published({}, {}, elements=[1, 6], sizes={3: 1})
