"""Charged particles: the simulator's physics, the predictor's symmetries, and its data."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from models.core.errors import ConfigError, ShapeError
from models.egnn.config import EGNNConfig
from models.egnn.pairs import DensePairs, SparsePairs
from models.egnn_nbody.model import ParticleEGNN, PlainGNN
from models.egnn_nbody.simulator import SPEED, Particles, advance, draw, energy, forces
from models.training.data.nbody import ParticleData, simulate
from models.training.nbody_plain import error, tensors, train

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
System = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(params=[False, True], ids=["directed", "symmetric"])
def model(request: pytest.FixtureRequest) -> ParticleEGNN:
    torch.manual_seed(4)
    network = {
        "width": 16, "message_width": 8, "layers": 3, "attention": False, "coordinate_hidden": 1, "divisor": 4.0,
        "normalize": False, "symmetric": request.param, "radial": 0,
    }  # fmt: skip
    made = ParticleEGNN(
        {
            "network": network, "plain": network, "linear_time": 0.7, "horizon": 1000, "particles": 5,
            "speed": 3.0, "spread": 8.0,
        }
    ).double()  # fmt: skip
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "displacement.last" in name:
                parameter.mul_(300)  # a fresh network hardly moves its points, which would hide a broken law
    return made


@pytest.fixture
def system(source: torch.Generator) -> System:
    x = torch.randn(3, 5, 3, generator=source, dtype=torch.float64)
    v = torch.randn(3, 5, 3, generator=source, dtype=torch.float64)
    q = torch.randint(2, (3, 5, 1), generator=source).double() * 2 - 1
    return x, v, q


@torch.no_grad()
def test_predicted_positions_turn_mirror_move_and_permute_with_the_particles(
    model: ParticleEGNN, system: System, source: torch.Generator
) -> None:
    x, v, q = system
    before = model(x, v, q)
    assert float((before - x).norm() / x.norm()) > 0.05
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=source, dtype=torch.float64))
    shift = torch.tensor([4.0, -3.0, 1.0])
    order = torch.randperm(5, generator=source)
    for matrix in (turn, -turn):
        after = model((x @ matrix.T + shift)[:, order], (v @ matrix.T)[:, order], q[:, order])
        torch.testing.assert_close(after, (before @ matrix.T + shift)[:, order], **CLOSE)


@torch.no_grad()
def test_the_plain_network_keeps_no_symmetry_of_space_but_that_of_labels(
    model: ParticleEGNN, system: System
) -> None:
    x, v, q = system
    before = model(x, v, q, method="gnn")
    assert float((model(x + 1.0, v, q, method="gnn") - before - 1.0).abs().max()) > 1e-3
    torch.testing.assert_close(model(x.flip(1), v.flip(1), q.flip(1), method="gnn"), before.flip(1), **CLOSE)


@torch.no_grad()
def test_translation_alone_is_not_enough_of_a_symmetry_to_pass(model: ParticleEGNN, system: System) -> None:
    # A predictor that only follows translations, such as x + f(v) with f not linear, fails the test of rotations.
    x, v, q = system
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def translation_only(x: Tensor, v: Tensor) -> Tensor:
        return x + torch.relu(v)

    torch.testing.assert_close(translation_only(x + 2, v), translation_only(x, v) + 2, **CLOSE)
    assert (
        float((translation_only(x @ turn.T, v @ turn.T) - translation_only(x, v) @ turn.T).abs().max()) > 0.1
    )
    torch.testing.assert_close(model(x @ turn.T, v @ turn.T, q), model(x, v, q) @ turn.T, **CLOSE)


@torch.no_grad()
def test_sparse_systems_of_different_sizes_give_what_dense_ones_give(
    model: ParticleEGNN, system: System
) -> None:
    x, v, q = system
    graphs = []
    for k, n in enumerate((5, 2, 4)):
        edges = torch.tensor(list(itertools.permutations(range(n), 2))).T
        graphs.append(Data(pos=x[k, :n], vel=v[k, :n], charge=q[k, :n], edge_index=edges, num_nodes=n))
    batch = Batch.from_data_list(graphs)
    pairs = SparsePairs(batch.edge_index, batch.num_nodes)
    found = model(batch.pos, batch.vel, batch.charge, pairs)
    for k, n in enumerate((5, 2, 4)):
        alone = model(x[k : k + 1, :n], v[k : k + 1, :n], q[k : k + 1, :n])[0]
        torch.testing.assert_close(found[batch.batch == k], alone, **CLOSE)


def test_a_gradient_reaches_every_parameter_that_a_position_depends_on(
    model: ParticleEGNN, system: System
) -> None:
    x, v, q = system
    batch = ParticleData(torch.cat([x, v, q, x + v], -1).numpy()).batch([0, 1, 2])
    model.float().loss(batch, options={}, generator=torch.Generator())["loss"].sum().backward()
    unused = {n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)}
    last = len(model.network.blocks) - 1
    # Only positions are asked for: features of the output, and nothing else, are never read.
    assert {n for n in unused if not n.startswith("network.embedding_out")} <= {
        f"plain.layers.{k}.gate.{kind}" for k in range(last + 1) for kind in ("weight", "bias")
    }


def test_an_unknown_method_and_setting_are_refused(model: ParticleEGNN, system: System) -> None:
    with pytest.raises(ConfigError, match="tea leaves"):
        model(*system, method="tea leaves")
    with pytest.raises(ConfigError, match="mass"):
        ParticleEGNN({**model.config, "mass": 1})


# --- the simulator ------------------------------------------------------------------------------------------


def test_energy_and_momentum_are_conserved_where_nobody_comes_close() -> None:
    # Two particles of equal charge, 2 apart, at rest: they only fly apart, so no force is ever cut.
    start = Particles(np.array([[[0.0, 0, 0], [2.0, 0, 0]]]), np.zeros((1, 2, 3)), np.ones((1, 2)))
    end = advance(start, 4000)
    np.testing.assert_allclose(energy(end), energy(start), rtol=2e-3)  # the step is of first order: 0.001
    np.testing.assert_allclose(end.velocities.sum(1), 0, atol=1e-12)
    # closed form: v^2 = q^2 (1/d0 - 1/d) for each of two unit masses
    distance = end.positions[0, 1, 0] - end.positions[0, 0, 0]
    np.testing.assert_allclose(end.velocities[0, 1, 0] ** 2, 1 / 2 - 1 / distance, rtol=2e-3)


def test_forces_sum_to_zero_follow_rotations_and_are_cut() -> None:
    source = np.random.default_rng(0)
    state = draw(20, source)
    pull = forces(state.positions, state.charges)
    np.testing.assert_allclose(pull.sum(1), 0, atol=1e-9)
    turn, _ = np.linalg.qr(source.normal(size=(3, 3)))
    np.testing.assert_allclose(forces(state.positions @ turn.T, state.charges), pull @ turn.T, atol=1e-9)
    close = np.array([[[0.0, 0, 0], [1e-3, 0, 0]]])
    assert np.abs(forces(close, np.ones((1, 2)))).max() == 100.0


def test_starts_have_the_stated_speeds_and_charges_and_lie_in_the_box() -> None:
    state = draw(500, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(state.velocities, axis=-1), SPEED)
    assert set(np.unique(state.charges)) == {-1.0, 1.0}
    assert np.abs(state.positions).max() <= 5.0


def test_trajectories_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.data.nbody.START", 20)
    monkeypatch.setattr("models.training.data.nbody.HORIZON", 10)
    first, again, other = simulate(4, 0), simulate(4, 0), simulate(4, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="charges"):
        advance(Particles(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)), np.zeros((1, 2))), 1)


def test_batches_are_a_pure_function_of_the_seed_and_can_be_resumed() -> None:
    data = ParticleData(np.random.default_rng(3).normal(size=(23, 5, 10)))
    whole = list(itertools.islice(data.batches(5, 1), 12))
    rest = list(itertools.islice(data.batches(5, 1, start=7), 5))
    for a, b in zip(whole[7:], rest, strict=True):
        torch.testing.assert_close(a.pos, b.pos)


def test_the_plain_network_is_kept_at_its_best_moment_by_validation(tmp_path: Path) -> None:
    source = np.random.default_rng(5)
    values = source.normal(size=(300, 5, 10))
    values[..., 6] = np.sign(values[..., 6])
    data, held_out = (
        ParticleData(values[:200]),
        ParticleData(values[200:]),
    )  # targets are noise: nothing to learn
    config = EGNNConfig(6, 3, width=64, message_width=32, layers=1, attention=False, symmetric=False)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        plain = PlainGNN(config)
    run = train(plain, data, held_out, epochs=41)
    pairs = DensePairs(5)
    assert run.step == 41 and run.best_epoch % 5 == 0 and run.best_epoch < 40
    assert error(plain, tensors(held_out), pairs) == pytest.approx(run.best_error, rel=1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        shorter = PlainGNN(config)
    state = tmp_path / "plain.safetensors"
    if run.best_epoch > 0:  # ended once on the way, it goes on as if nothing had happened
        train(shorter, data, held_out, epochs=run.best_epoch // 2, state=state)
    train(
        shorter, data, held_out, epochs=run.best_epoch + 1, state=state
    )  # stops at the best moment: the same weights
    torch.testing.assert_close(shorter.state_dict(), plain.state_dict())
