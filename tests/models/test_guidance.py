"""Guidance by a weaker model, on Gaussians whose guided flow has a closed form."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.core.errors import ConfigError
from models.core.random import molecule_seed
from models.edm.guidance import GuidedDenoiser
from models.edm.model import EDM
from models.edm.process import VarianceExploding
from models.edm.sampling import SamplingRun
from models.training.guide import join, main
from models.weights import load_model, save_model

PROCESS = VarianceExploding(0.001, 50.0)
GUIDE = {"width": 8, "message_width": 4, "layers": 1, "radial": 4}


def finished(run: SamplingRun) -> list[Any]:
    while not run.done:
        run.step()
    return run.result()


@pytest.mark.parametrize("w", [0.0, 0.5, 2.0])
def test_guidance_narrows_a_gaussian_by_the_ratio_of_the_spreads(
    gaussian: Callable[..., Any], w: float
) -> None:
    """Along the guided flow d log x / ds = s (1 + w) / (a^2 + s^2) - s w / (b^2 + s^2), so that x ends at a (a / b)^w
    times the standard normal it began with, for a start far above both spreads."""
    a, b = 1.0, 1.6
    guided = GuidedDenoiser(gaussian(a, process=PROCESS), gaussian(b, process=PROCESS), w)
    run = SamplingRun(guided, [5] * 8, range(8), sampler="heun", steps=399, churn=0.0)
    start = torch.cat([lanes.x for lanes in run.lanes])
    high = float(run.lanes[0].grid[0, 0])
    scale = math.sqrt(a**2 / (a**2 + high**2)) ** (1 + w) * math.sqrt((b**2 + high**2) / b**2) ** w
    ends = torch.from_numpy(np.stack([sample.positions for sample in finished(run)]))
    assert float((ends - start * scale).norm() / ends.norm()) < 1e-3
    assert scale * high == pytest.approx(a * (a / b) ** w, rel=2e-3)


def test_guided_elements_are_the_ratio_of_the_distributions(gaussian: Callable[..., Any]) -> None:
    """At high noise only the frequencies speak: p_1^(1 + w) / p_0^w, normalized."""
    p, q, w = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2]), 1.5
    guided = GuidedDenoiser(gaussian(1.0, tuple(p)), gaussian(1.0, tuple(q)), w)
    x, h = torch.zeros(1, 4, 3, dtype=torch.float64), torch.zeros(1, 4, 3, dtype=torch.float64)
    found = guided(x, h, torch.tensor([1e4], dtype=torch.float64)).h / guided.features.type_scale
    expected = p ** (1 + w) / q**w
    np.testing.assert_allclose(found[0].numpy(), np.tile(expected / expected.sum(), (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("parametrization", ["data", "noise"])
def test_a_model_that_guides_itself_changes_nothing(
    make_edm: Callable[..., EDM], parametrization: str
) -> None:
    model = make_edm(parametrization).requires_grad_(False)
    seeds = [molecule_seed(3, k) for k in range(3)]
    plain = finished(model.sampling([4, 6, 9], seeds, steps=12))
    guided = GuidedDenoiser(model.denoiser, model.denoiser, 1.7)
    same = finished(SamplingRun(guided, [4, 6, 9], seeds, sampler="stochastic", steps=12, churn=0.8))
    for one, other in zip(plain, same, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist()
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-4 * np.abs(one.positions).max())


@pytest.mark.parametrize("parametrization", ["data", "noise"])
def test_a_guided_molecule_depends_on_its_seed_and_not_on_its_batch(
    make_edm: Callable[..., EDM], parametrization: str
) -> None:
    guide = GUIDE if parametrization == "data" else make_edm("noise").config["network"] | {"layers": 1}
    model = make_edm(parametrization, guide=guide).requires_grad_(False)
    sizes, seeds = [4, 6, 4, 9], [molecule_seed(5, k) for k in range(4)]
    options: dict[str, Any] = {"steps": 12, "churn": 0.6, "guidance": 0.7}
    together = finished(model.sampling(sizes, seeds, **options))
    unguided = finished(model.sampling(sizes, seeds, **options | {"guidance": 0.0}))
    for k in range(4):
        alone = finished(model.sampling(sizes[k : k + 1], seeds[k : k + 1], **options))[0]
        size = max(1.0, np.abs(alone.positions).max() / 10)
        assert alone.numbers.tolist() == together[k].numbers.tolist()
        assert np.abs(alone.positions - together[k].positions).max() < 1e-5 * size
        assert np.abs(alone.positions - unguided[k].positions).max() > 1e-4


def test_a_guide_is_refused_where_it_does_not_fit(gaussian: Callable[..., Any], edm: EDM) -> None:
    with pytest.raises(ConfigError, match="no guide"):
        edm.sampling([3], [1], guidance=0.5)
    with pytest.raises(ConfigError, match="features"):
        GuidedDenoiser(gaussian(1.0, (0.5, 0.5)), gaussian(1.0), 0.5)
    with pytest.raises(ConfigError, match="must lie in"):
        GuidedDenoiser(gaussian(1.0), gaussian(1.0), -1.0)
    with pytest.raises(ConfigError, match=r"models\.training\.guide"):
        EDM.config_for({"guide": GUIDE}, None)


def test_a_model_and_its_guide_are_joined_without_changing_either(
    make_edm: Callable[..., EDM], tmp_path: Path
) -> None:
    model, guide = make_edm(), make_edm(network=GUIDE)
    for name, one in (("large", model), ("small", guide)):
        card = {
            "id": name,
            "family": "edm",
            "config": one.config,
            "training": {"recipe": name},
            "metrics": [1],
        }
        save_model(one, card, tmp_path)
    main(tmp_path / "large.json", tmp_path / "small.json", tmp_path / "joined", 0.3)
    card = json.loads((tmp_path / "joined" / "large.json").read_text())
    joined = load_model(card, tmp_path / "joined" / "large.safetensors")
    assert isinstance(joined, EDM) and joined.guide is not None
    for ours, theirs in ((joined.denoiser, model.denoiser), (joined.guide, guide.denoiser)):
        wanted = theirs.state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in ours.state_dict().items())
    assert card["training"]["guide"] == {"recipe": "small"}
    assert card["defaults"]["sample"]["guidance"] == 0.3
    assert card["metrics"] == []  # those of the unguided model no longer hold


def test_models_that_see_molecules_at_different_scales_are_not_joined(make_edm: Callable[..., EDM]) -> None:
    model, guide = make_edm(), make_edm(coordinate_scale=2.0)
    cards = [{"id": name, "config": one.config} for name, one in (("large", model), ("small", guide))]
    with pytest.raises(ConfigError, match=r"coordinate_scale is 1\.5 in large, but 2\.0 in small"):
        join(cards[0], model, cards[1], guide)
