"""The bound as a training loss, and a schedule that is learned with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from models.core.errors import ConfigError
from models.core.random import generator
from models.edm.model import EDM
from models.training.optimizer import make_optimizers
from models.training.recipe import Optimizer

LEARNED = {"kind": "learned", "gamma_0": -6.0, "gamma_1": 8.0, "steps": 40}
SCHEDULES = {"polynomial": {"kind": "polynomial", "steps": 40, "precision": 1e-3}, "learned": LEARNED}


def molecules(count: int, n: int = 4) -> Any:
    """A bucket of equal, slightly shaken molecules, as the training loop hands it over."""
    source = generator(7, "molecules")
    corners = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])[:n]
    positions = corners + 0.05 * torch.randn(count, n, 3, generator=source)
    return SimpleNamespace(
        z=torch.tensor([6, 1, 1, 8])[:n].repeat(count), pos=positions.reshape(-1, 3), num_graphs=count
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_mean_of_the_loss_is_the_negative_bound(make_edm: Callable[..., EDM], schedule: str) -> None:
    model = make_edm("noise", process=SCHEDULES[schedule]).eval()
    one = molecules(1)
    many = SimpleNamespace(z=one.z.repeat(2000), pos=one.pos.repeat(2000, 1), num_graphs=2000)
    with torch.no_grad():
        losses = model.loss(many, options={"kind": "bound"}, generator=generator(1))["loss"].double()
    (found,) = model.bound([one.z.numpy()], [one.pos.numpy().astype(np.float64)], [0], draws=400, steps=40)
    expected = -(found.value - found.terms["size"])
    error = math.hypot(float(losses.std()) / math.sqrt(len(losses)), found.standard_error)
    assert abs(float(losses.mean()) - expected) < 4 * error  # false alarm once in 16,000 runs
    assert error < 0.05 * abs(expected)


def test_gradients_reach_the_schedule_and_every_weight(make_edm: Callable[..., EDM]) -> None:
    model = make_edm("noise", process=LEARNED)
    model.loss(molecules(8), options={"kind": "bound"}, generator=generator(2))["loss"].sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []


def test_training_with_the_bound_moves_the_schedule_and_lowers_the_bound(
    make_edm: Callable[..., EDM],
) -> None:
    torch.manual_seed(0)
    model = make_edm("noise", process=LEARNED)
    before = model.denoiser.process.gamma.clone()
    (optimizer,) = make_optimizers(Optimizer(learning_rate=3e-3), model)
    losses = []
    for step in range(150):
        loss = model.loss(molecules(64), options={"kind": "bound"}, generator=generator(step))["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    after = model.denoiser.process.gamma
    assert float((after - before).abs().max()) > 0.1
    assert bool((after.diff() > 0).all())
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 5


def test_a_learned_schedule_is_saved_with_the_weights(make_edm: Callable[..., EDM]) -> None:
    model = make_edm("noise", process=LEARNED).eval()
    with torch.no_grad():
        model.denoiser.schedule.gamma_0.add_(0.5)
    other = EDM(model.config)
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(other.denoiser.process.gamma, model.denoiser.process.gamma)
    assert float(other.denoiser.process.gamma[0]) == pytest.approx(-5.5, abs=1e-5)


@pytest.mark.parametrize("sampler", ["ancestral", "stochastic", "heun"])
def test_a_model_with_a_learned_schedule_samples_and_scores(
    make_edm: Callable[..., EDM], sampler: str
) -> None:
    model = make_edm("noise", process=LEARNED).eval()
    run = model.sampling([3, 4], [1, 2], sampler=sampler, steps=8)
    while not run.done:
        run.step()
    samples = run.result()
    assert [len(sample.numbers) for sample in samples] == [3, 4]
    scores = model.bound([s.numbers for s in samples], [s.positions for s in samples], [1, 2], draws=4)
    assert all(math.isfinite(score.value) for score in scores)


def test_what_cannot_be_joined_is_named(make_edm: Callable[..., EDM]) -> None:
    with pytest.raises(ConfigError, match="noise prediction"):
        make_edm("data", process=LEARNED)
    with pytest.raises(ConfigError, match="noise prediction"):
        make_edm("data").loss(molecules(2), options={"kind": "bound"}, generator=generator(0))
    with pytest.raises(ConfigError, match="'denoising' or 'bound'"):
        make_edm("noise").loss(molecules(2), options={"kind": "both"}, generator=generator(0))
