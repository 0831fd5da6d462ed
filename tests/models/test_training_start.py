"""A run may begin from the weights of a trained model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.core.errors import CheckpointError, ConfigError
from models.edm.model import EDM
from models.training.start import begin_from
from models.weights import save_model


def saved(model: EDM, folder: Path) -> Path:
    card = {"id": "tried", "family": "edm", "config": model.config, "training": {"molecules": 7}}
    return save_model(model, card, folder)


def test_a_run_begins_with_the_weights_of_a_card(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    trained, fresh = make_edm(), make_edm()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    said = begin_from(fresh, str(saved(trained, tmp_path)))
    wanted, found = trained.state_dict(), fresh.state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert said["model"] == "tried"
    assert said["training"] == {"molecules": 7}


def test_the_guide_of_a_shipped_model_is_left_behind() -> None:
    path = Path("models/weights/edm-qm9.json")
    config = {k: v for k, v in json.loads(path.read_text(encoding="utf-8"))["config"].items() if k != "guide"}
    model = EDM(config)
    assert begin_from(model, "edm-qm9")["model"] == "edm-qm9"
    assert not [name for name in model.state_dict() if name.startswith("guide")]


def test_another_network_is_refused(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    network = {"width": 24, "message_width": 8, "layers": 2, "radial": 6}
    with pytest.raises(ConfigError, match="another shape"):
        begin_from(make_edm(network=network), str(saved(make_edm(), tmp_path)))


def test_unknown_models_and_altered_weights_are_refused(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model 'nobody'"):
        begin_from(make_edm(), "nobody")
    card = saved(make_edm(), tmp_path)
    weights = card.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    with pytest.raises(CheckpointError, match="altered"):
        begin_from(make_edm(), str(card))
