"""Self-conditioning: the laws of a denoiser hold with an estimate before, and without one it is what it was."""

from __future__ import annotations

import copy

import pytest
import torch

from models.core.errors import ConfigError
from models.core.random import molecule_seed
from models.edm.guidance import GuidedDenoiser
from models.edm.loss import LossOptions, denoising_loss
from models.edm.model import EDM
from models.edm.told import RememberingDenoiser, told
from models.training.start import begin_from
from models.weights import save_model

CONFIG = {
    "elements": [1, 6, 8], "sizes": {"4": 1, "5": 2}, "process": {"kind": "variance-exploding"},
    "network": {"width": 16, "message_width": 8, "layers": 2},
}  # fmt: skip


def model_of(seed=0, **more):
    torch.manual_seed(seed)
    model = EDM({**CONFIG, **more}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def noisy(b=3, n=5, seed=0):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(b, n, 3, generator=source, dtype=torch.float64)
    h = torch.randn(b, n, 3, generator=source, dtype=torch.float64)
    return x - x.mean(1, keepdim=True), h, torch.full((b,), 0.3, dtype=torch.float64)


def test_an_estimate_before_is_turned_mirrored_and_relabeled_with_the_molecule():
    denoiser = model_of(self_conditioning=True).denoiser
    x, h, level = noisy()
    first = denoiser(x, h, level)
    second = denoiser(x, h, level, previous=first)
    assert (second.x - first.x).abs().max() > 1e-4 and (second.h - first.h).abs().max() > 1e-4
    turn = torch.linalg.qr(
        torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    )[0]
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = denoiser((x @ turn)[:, order], h[:, order], level)
    again = denoiser((x @ turn)[:, order], h[:, order], level, previous=moved)
    torch.testing.assert_close(again.x, (second.x @ turn)[:, order], rtol=0, atol=1e-10)
    torch.testing.assert_close(again.logits, second.logits[:, order], rtol=0, atol=1e-8)


def test_what_is_not_known_is_not_seen():
    denoiser = model_of(self_conditioning=True).denoiser
    x, h, level = noisy()
    first = denoiser(x, h, level)
    known = torch.tensor([True, False, True])
    mixed, second = (denoiser(x, h, level, previous=first, known=k) for k in (known, None))
    torch.testing.assert_close(mixed.x[1], first.x[1])
    torch.testing.assert_close(mixed.x[[0, 2]], second.x[[0, 2]])


def saved(model, folder):
    """The card of a model in a folder."""
    about = {"id": "plain", "family": "edm", "title": "plain", "capabilities": ["sample"]}
    return save_model(model.float(), about | {"config": model.config}, folder)


def test_a_model_started_from_one_without_begins_as_what_that_was(tmp_path):
    plain = model_of()
    path = saved(plain, tmp_path)
    wider = EDM({**CONFIG, "self_conditioning": True}).eval()
    begin_from(wider, str(path))
    x, h, level = (part.float() for part in noisy())
    first = wider.denoiser(x, h, level)
    torch.testing.assert_close(first.x, plain.denoiser(x, h, level).x)
    torch.testing.assert_close(wider.denoiser(x, h, level, previous=first).x, first.x)


def test_only_the_inputs_of_self_conditioning_are_added_and_no_others(tmp_path):
    path = saved(model_of(), tmp_path)
    for other in ({"elements": [1, 6, 7, 8]}, {"network": {"width": 24, "message_width": 8, "layers": 2}}):
        for before in (False, True):
            with pytest.raises(ConfigError, match="cannot start"):
                begin_from(EDM({**CONFIG, **other, "self_conditioning": before}), str(path))


def test_samples_depend_on_their_seed_alone_and_on_the_estimates_before():
    model = model_of(self_conditioning=True)
    seeds = [molecule_seed(0, k) for k in range(6)]
    sizes = [4, 5, 5, 4, 5, 5]
    run = model.sampling(sizes, seeds, steps=6)
    assert all(isinstance(view, RememberingDenoiser) for view in run.views)
    while not run.done:
        run.step()
    together = run.result()
    for k in (1, 3):
        alone = model.sampling([sizes[k]], [seeds[k]], steps=6)
        while not alone.done:
            alone.step()
        torch.testing.assert_close(
            torch.from_numpy(alone.result()[0].positions),
            torch.from_numpy(together[k].positions),
            atol=1e-9,
            rtol=0,
        )
    forgetful = model.sampling(sizes, seeds, steps=6)
    forgetful.views = [told(model.denoiser, None, lanes.rows) for lanes in forgetful.lanes]
    while not forgetful.done:
        forgetful.step()
    assert abs(forgetful.result()[0].positions - together[0].positions).max() > 1e-5


def test_a_guided_model_remembers_too_and_its_guide_needs_no_memory():
    model = model_of(self_conditioning=True, guide={"width": 8, "message_width": 4, "layers": 1}).float()
    run = model.sampling([4], [0], steps=4, guidance=0.5)
    assert isinstance(run.views[0], GuidedDenoiser) and isinstance(run.views[0].strong, RememberingDenoiser)
    while not run.done:
        run.step()
    assert len(run.result()) == 1


def test_training_reaches_the_weights_that_see_the_estimate_before():
    model = model_of(self_conditioning=True).float().requires_grad_(True)
    numbers = torch.tensor([[6, 1, 1, 8]] * 32)
    positions = torch.randn(32, 4, 3, generator=torch.Generator().manual_seed(0))

    def gradient(seed):
        model.zero_grad()
        position, element = denoising_loss(
            model.denoiser,
            numbers,
            positions,
            options=LossOptions(),
            generator=torch.Generator().manual_seed(seed),
        )
        (position + element).sum().backward()
        return copy.deepcopy(model.denoiser.network.embedding.weight.grad)

    assert gradient(0)[:, -3:].abs().max() > 0  # the columns of the elements before
    assert torch.equal(gradient(1), gradient(1))


def test_self_conditioning_of_noise_prediction_is_refused():
    noise = {"process": {"kind": "cosine", "steps": 50}, "parametrization": "noise"}
    with pytest.raises(ConfigError, match="data prediction"):
        EDM({**CONFIG, **noise, "self_conditioning": True})
