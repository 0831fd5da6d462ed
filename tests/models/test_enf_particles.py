"""Particle systems: potentials, chains, free energies, and flows over configurations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.core.centered import centered_normal_log_prob, remove_mean
from models.core.errors import ConfigError, ShapeError
from models.core.ode import Solver
from models.core.random import generator
from models.enf_particles.alignment import aligned
from models.enf_particles.chains import Chains, record, relaxed
from models.enf_particles.convergence import effective_sample_size, split_r_hat
from models.enf_particles.free_energy import anneal, bennett, integrate, log_z_of_trap
from models.enf_particles.leaps import Leaps
from models.enf_particles.model import ParticleFlow, effective_share, log_weights
from models.enf_particles.potentials import (
    SYSTEMS,
    PairPotential,
    SoftCore,
    double_well,
    lennard_jones,
    squared_distances,
    system,
)  # fmt: skip
from models.enf_particles.quadrature import four_in_the_plane

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def flow(name: str = "dw4") -> ParticleFlow:
    """A small float64 flow that is far from the identity."""
    torch.manual_seed(2)
    network = {
        "width": 16,
        "message_width": 16,
        "layers": 2,
        "divisor": 3.0,
        "radial": 8,
        "radial_cutoff": 6.0,
    }
    model = ParticleFlow({"system": name, "coordinate_scale": 1.7, "position_scale": 1.5, "network": network})
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "displacement.last" in parameter_name:
                parameter.mul_(30)
    return model.double().requires_grad_(False).eval()


@pytest.fixture(params=["dw4", "lj13"])
def model(request: pytest.FixtureRequest) -> ParticleFlow:
    return flow(request.param)


def spread(target: PairPotential, count: int, source: torch.Generator, width: float = 2.0) -> Tensor:
    """Configurations without overlaps."""
    x = width * torch.randn(count, target.points, target.dimensions, generator=source, dtype=torch.float64)
    return relaxed(target, x)


# --- potentials ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_are_those_of_the_energy_and_energies_have_all_symmetries(
    name: str, source: torch.Generator
) -> None:
    target = system(name)
    x = spread(target, 3, source).requires_grad_()
    energy, gradient = target(x)
    (wanted,) = torch.autograd.grad(energy.sum(), x)
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)
    turn, _ = torch.linalg.qr(torch.randn(target.dimensions, target.dimensions, generator=source).double())
    order = torch.randperm(target.points, generator=source)
    moved = (x.detach() @ turn + 3.0)[:, order]
    torch.testing.assert_close(target.energy(moved), energy.detach(), rtol=1e-9, atol=1e-9)


def test_pair_energies_have_the_published_minima() -> None:
    # d = 4 +- sqrt(4 / 1.8) are DW4's wells, of depth -4^2 / (4 * 0.9); LJ13's is at 1, of depth -2.
    wells = torch.tensor([4 - math.sqrt(4 / 1.8), 4 + math.sqrt(4 / 1.8)], dtype=torch.float64)
    energy, slope = double_well(wells.square())
    torch.testing.assert_close(energy, torch.full_like(wells, -16 / 3.6), **CLOSE)
    assert float(slope.abs().max()) < 1e-12
    one = torch.ones(1, dtype=torch.float64)
    assert float(lennard_jones(one)[0]) == -2.0 and float(lennard_jones(one)[1].abs()) < 1e-12


def test_the_path_to_lennard_jones_begins_free_ends_there_and_knows_its_derivative() -> None:
    squared = torch.linspace(0.5, 9.0, 30, dtype=torch.float64)[None]
    assert float(SoftCore(torch.zeros(1, 1).double())(squared)[0].abs().max()) == 0.0
    for found, wanted in zip(
        SoftCore(torch.ones(1, 1).double())(squared), lennard_jones(squared), strict=True
    ):
        torch.testing.assert_close(found, wanted, **CLOSE)
    for power in (1.0, 2.0):
        s = torch.full((1, 1), 0.4, dtype=torch.float64, requires_grad=True)
        r = squared.clone().requires_grad_()
        energy, slope = SoftCore(s, power=power)(r)
        by_s, by_r = torch.autograd.grad(energy.sum(), (s, r))
        torch.testing.assert_close(SoftCore(s, power=power).derivative(squared).sum(), by_s.sum(), **CLOSE)
        torch.testing.assert_close(slope, by_r, **CLOSE)


def test_an_unknown_system_and_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match="dw5"):
        system("dw5")
    with pytest.raises(ShapeError, match="4, 2"):
        system("dw4").energy(torch.zeros(1, 4, 3))


# --- chains and partition functions -------------------------------------------------------------------------


def test_quadrature_of_four_particles_agrees_with_a_gaussian_in_closed_form() -> None:
    # Pair energies k d^2 / 2 make n k / 2 sum |x|^2 on the centered subspace: Gaussian with the precision n k.
    k = 0.5

    def spring(squared: Tensor) -> tuple[Tensor, Tensor]:
        return k * squared / 2, torch.full_like(squared, k / 2)

    # Springs let two particles meet, where r exp(-u) has a slope, so the rule's error is of order h^2: extrapolated.
    coarse, fine = (four_in_the_plane(spring, farthest=9.0, cells=128, shells=n) for n in (40, 80))
    ratio = math.exp(coarse.log_z - fine.log_z)
    wanted = 3 * math.log(2 * math.pi / (4 * k)) - 6 * k * 1e-6 / 2
    assert abs(fine.log_z + math.log((4 - ratio) / 3) - wanted) < 1e-5
    assert abs(fine.mean_energy - 3.0) < 0.01  # equipartition


def test_quadrature_of_dw4_does_not_change_on_a_finer_grid() -> None:
    coarse, fine = four_in_the_plane(double_well), four_in_the_plane(double_well, cells=320, shells=200)
    assert abs(coarse.log_z - fine.log_z) < 1e-9 and abs(coarse.mean_energy - fine.mean_energy) < 1e-8


def test_chains_with_leaps_find_the_energy_and_the_distances_that_quadrature_finds() -> None:
    # 3,840 draws; the tolerances are five standard errors, so this fails by chance less than once in 100,000 seeds.
    target, source = system("dw4"), generator(1, "chains")
    chains = Chains.start(target, spread(target, 64, source), 0.15)
    leaps = Leaps.of(target)
    for _ in range(150):
        chains.sweep(target, 10, source)
        leaps.sweep(target, chains, source)
    found = record(
        chains, target, count=60, thin=2, leapfrog=10, generator=source, moves=[leaps.sweep, leaps.sweep]
    )
    exact = four_in_the_plane(double_well)
    error = float(found.energies.std()) / math.sqrt(effective_sample_size(found.energies))
    assert abs(float(found.energies.mean()) - exact.mean_energy) < 5 * error
    assert split_r_hat(found.energies) < 1.03
    near = (squared_distances(found.samples).sqrt() < 4.0).double().mean(-1)
    wanted = float(exact.density[exact.distance < 4.0].sum() * (exact.distance[1] - exact.distance[0]))
    error = float(near.std()) / math.sqrt(effective_sample_size(near))
    assert abs(float(near.mean()) - wanted) < 5 * error + 0.01  # the grid cuts the density at a whole cell


@pytest.mark.slow
def test_thermodynamic_integration_agrees_with_quadrature_of_four_trapped_disks() -> None:
    # Four Lennard-Jones particles in the plane in a trap; at its edges the density has long died out. 5 errors each.
    trap = 1.0

    def trapped(squared: Tensor) -> tuple[Tensor, Tensor]:
        energy, slope = lennard_jones(squared)
        return energy + trap * squared / 8, slope + trap / 8  # sum of pairs d^2 = n sum |x|^2

    exact = four_in_the_plane(trapped, farthest=10.0, cells=512, shells=400)
    disks, source = PairPotential(4, 2, lennard_jones, trap=trap), generator(4, "disks")
    found = integrate(disks, SoftCore, source, nodes=12, chains=64, tuning=30, sweeps=60, leapfrog=6)
    assert abs(found.log_z.value - exact.log_z) < 5 * found.log_z.error + 0.02
    assert found.log_z.error < 0.1
    assert math.isclose(log_z_of_trap(disks), 3 * math.log(2 * math.pi))


def test_bennetts_ratio_finds_the_free_energy_of_gaussian_work() -> None:
    # Forward work N(d + s^2/2, s^2) and backward work N(-d + s^2/2, s^2) obey Crooks' theorem with the difference d.
    source, d, s = torch.Generator().manual_seed(8), 1.7, 1.5
    forward = d + s * s / 2 + s * torch.randn(4000, generator=source, dtype=torch.float64)
    backward = -d + s * s / 2 + s * torch.randn(4000, generator=source, dtype=torch.float64)
    found = bennett(forward, backward)
    assert abs(found.value - d) < 5 * found.error < 0.3


def test_an_annealing_without_any_change_does_no_work(source: torch.Generator) -> None:
    disks = PairPotential(4, 2, lennard_jones, trap=1.0)
    x = spread(disks, 8, source, width=1.0)
    work = anneal(disks, SoftCore, x, [0.3, 0.3, 0.3], [0.01] * 3, source)
    assert float(work.abs().max()) < 1e-12  # rounding of the energy


def test_independent_draws_have_full_effective_size_and_correlated_ones_less(source: torch.Generator) -> None:
    free = torch.randn(200, 40, generator=source, dtype=torch.float64)
    assert 0.8 < effective_sample_size(free) / 8000 < 1.3
    slow = torch.zeros(200, 40, dtype=torch.float64)
    for k in range(1, 200):
        slow[k] = 0.9 * slow[k - 1] + free[k]
    assert effective_sample_size(slow) < 0.15 * 8000  # in theory (1 - 0.9) / (1 + 0.9) = 5 %
    with pytest.raises(ShapeError, match="8 states"):
        split_r_hat(free[:4])


# --- the flow -----------------------------------------------------------------------------------------------


def test_likelihoods_do_not_change_when_a_configuration_is_turned_mirrored_moved_or_relabeled(
    model: ParticleFlow, source: torch.Generator
) -> None:
    n, d = model.points, model.dimensions
    x = 2 * torch.randn(2, n, d, generator=source, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=source, dtype=torch.float64))
    order = torch.randperm(n, generator=source)
    solver = Solver("rk4", steps=2)
    before, _ = model.log_prob_exact(x, solver=solver)
    for matrix in (turn, -turn):
        after, _ = model.log_prob_exact((x @ matrix + 5.0)[:, order], solver=solver)
        torch.testing.assert_close(after, before, **CLOSE)


def test_likelihood_is_that_of_autograds_whole_jacobian(source: torch.Generator) -> None:
    model = flow("dw4")
    x = 2 * torch.randn(1, 4, 2, generator=source, dtype=torch.float64)
    basis = torch.linalg.qr(torch.cat([torch.ones(4, 1), torch.eye(4, 3)], 1).double())[0][:, 1:]
    solver = Solver("rk4", steps=40)

    def carried(free: Tensor) -> Tensor:
        from models.enf.ode import carry

        z = (basis @ free.view(3, 2))[None]
        end = carry(model.field, z, z.new_zeros(1, 4, 0), 0.0, 1.0, solver, train=True)
        return (basis.T @ end.x[0]).flatten()

    start = (basis.T @ (remove_mean(x)[0] / model.scale)).flatten()
    jacobian = torch.autograd.functional.jacobian(carried, start)
    end = (basis @ carried(start).view(3, 2))[None]
    wanted = centered_normal_log_prob(end) + jacobian.slogdet().logabsdet - model.log_scale
    found, _ = model.log_prob_exact(x, solver=solver)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # the solver's own order of accuracy
    by_quadrature, error = model.log_prob_exact(x)
    assert abs(float(by_quadrature - wanted)) < max(3 * float(error), 0.02)


def test_hutchinsons_mean_is_the_exact_likelihood(source: torch.Generator) -> None:
    # 300 probes; five standard errors, less than one failure in a million seeds.
    model = flow("dw4")
    x = 2 * torch.randn(1, 4, 2, generator=source, dtype=torch.float64)
    solver = Solver("rk4", steps=6)
    exact, _ = model.log_prob_exact(x, solver=solver)
    draws = model.log_prob_hutchinson(
        x.expand(20, -1, -1), [generator(k) for k in range(20)], draws=15, solver=solver
    ).flatten()
    assert abs(float(draws.mean() - exact)) < 5 * float(draws.std()) / math.sqrt(len(draws))


def test_a_sample_is_the_same_alone_and_among_others_and_carries_its_weight(model: ParticleFlow) -> None:
    solver = Solver("rk4", steps=3)
    together = model.sample([5, 6, 7], solver=solver)
    alone = model.sample([6], solver=solver)
    torch.testing.assert_close(together.x[1:2], alone.x, **CLOSE)
    with pytest.raises(ConfigError, match="weigh"):
        log_weights(model, together)


def test_equal_weights_make_every_sample_count_and_one_heavy_weight_makes_one(
    source: torch.Generator,
) -> None:
    assert effective_share(torch.zeros(50)) == pytest.approx(1.0)
    assert effective_share(torch.tensor([100.0] + [0.0] * 49)) == pytest.approx(1 / 50)


def test_aligned_noise_is_nearer_has_the_same_lengths_and_no_symmetry_matters(
    source: torch.Generator,
) -> None:
    noise, x = (remove_mean(torch.randn(6, 5, 3, generator=source, dtype=torch.float64)) for _ in range(2))
    near = aligned(noise, x)
    assert bool(((near - x).norm(dim=(1, 2)) < (noise - x).norm(dim=(1, 2))).all())
    torch.testing.assert_close(near.norm(dim=-1).sort().values, noise.norm(dim=-1).sort().values, **CLOSE)
    torch.testing.assert_close(aligned(x, x), x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["matching", "likelihood"])
def test_a_gradient_reaches_every_parameter(kind: str, source: torch.Generator) -> None:
    from torch_geometric.data import Batch

    model = flow("dw4").float().requires_grad_(True)
    batch = Batch(pos=torch.randn(12, 2, generator=source), batch=torch.arange(3).repeat_interleave(4))
    model.loss(batch, options={"kind": kind, "steps": 1}, generator=source)["loss"].sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    # Only positions are asked for: what the last block does to features, and their output, is never read.
    dead = ("field.network.embedding_out", "field.network.blocks.1.interactions.0.node_")
    assert all(name.startswith(dead) for name in unused), unused


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        ParticleFlow({**flow().config, "colour": "red"})
    with pytest.raises(ConfigError, match="colour"):
        flow().loss(
            type("Batch", (), {"pos": torch.zeros(4, 2)})(),
            options={"colour": 1},
            generator=torch.Generator(),
        )
