"""Weights and cards on disk."""

from __future__ import annotations

import ast
import json
import pickletools
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.core.errors import CheckpointError, ConfigError
from models.edm.model import EDM
from models.weights import load_model, save_model

MODELS = Path(__file__).parents[2] / "models"


def saved(model: EDM, folder: Path) -> tuple[dict[str, Any], Path]:
    """The card and the weights file of a model written to `folder`."""
    path = save_model(model, {"id": "small", "family": "edm", "config": model.config}, folder)
    card = json.loads(path.read_text(encoding="utf-8"))
    return card, folder / card["weights"]["file"]


def test_a_model_comes_back_bit_for_bit(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    again = load_model(card, weights)
    assert isinstance(again, EDM)
    state, other = edm.state_dict(), again.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_a_loaded_model_makes_the_same_molecule(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    results = []
    for model in (edm, load_model(card, weights)):
        run = model.sampling([5], [11], steps=5)
        while not run.done:
            run.step()
        results.append(run.result()[0])
    assert results[0].numbers.tolist() == results[1].numbers.tolist()
    assert results[0].positions.tobytes() == results[1].positions.tobytes()


def test_the_card_tells_the_files_facts(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    assert card["weights"]["bytes"] == weights.stat().st_size
    assert card["weights"]["parameters"] == sum(p.numel() for p in edm.parameters())
    assert len(card["weights"]["sha256"]) == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.json", "small.safetensors"]


def test_other_users_of_the_machine_may_read_the_weights(edm: EDM, tmp_path: Path) -> None:
    _, weights = saved(edm, tmp_path)
    probe = tmp_path / "probe"
    probe.touch()
    assert stat.S_IMODE(weights.stat().st_mode) == stat.S_IMODE(probe.stat().st_mode)


def test_an_altered_file_is_refused(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="altered"):
        load_model(card, weights)


def test_a_missing_file_is_named(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"small\.safetensors is missing"):
        load_model(card, weights)


def test_weights_of_another_configuration_are_refused(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    card, weights = saved(make_edm("data"), tmp_path)
    other = make_edm("data", network={"width": 16, "message_width": 8, "layers": 3, "radial": 6})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_model({**card, "config": other.config}, weights)


def test_cards_without_what_loading_needs_are_refused(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    for family in ("alchemy", "os.path", "../edm", ""):
        with pytest.raises(CheckpointError, match="famil"):
            load_model({**card, "family": family}, weights)
    for missing in ("weights", "config", "family"):
        with pytest.raises(CheckpointError, match=missing):
            load_model({name: value for name, value in card.items() if name != missing}, weights)
    with pytest.raises(ConfigError, match="unknown settings"):
        load_model({**card, "config": {**card["config"], "colour": "blue"}}, weights)
    with pytest.raises(ConfigError, match="elements"):
        load_model({**card, "config": {k: v for k, v in card["config"].items() if k != "elements"}}, weights)


def test_a_file_that_is_no_safetensors_is_refused_and_never_unpickled(edm: EDM, tmp_path: Path) -> None:
    card, weights = saved(edm, tmp_path)
    torch.save(edm.state_dict(), weights)
    from models.weights.files import file_hash

    card["weights"]["sha256"] = file_hash(weights)
    with pytest.raises(CheckpointError, match="safetensors"):
        load_model(card, weights)


SAFE = {
    "load": {"torch": ("weights_only", True), "np": ("allow_pickle", False), "numpy": ("allow_pickle", False)}
}


def unpickling(tree: ast.AST) -> list[str]:
    """Imports and calls that could run a pickle."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            found += [
                name for name in names if name.split(".")[0] in ("pickle", "joblib", "dill", "cloudpickle")
            ]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            option = SAFE.get(node.func.attr, {}).get(owner)
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if option and given.get(option[0], "absent") is not option[1]:
                found.append(f"{owner}.load without {option[0]}={option[1]}")
            if (owner, node.func.attr) == ("torch", "save"):
                found.append("torch.save")
    return found


def test_the_storey_runs_no_pickles() -> None:
    for path in MODELS.rglob("*.py"):
        assert unpickling(ast.parse(path.read_text(encoding="utf-8"))) == [], path
    for path in MODELS.rglob("*.safetensors"):
        with pytest.raises(ValueError, match="opcode"):
            list(pickletools.genops(path.read_bytes()[:64]))


@pytest.mark.parametrize(
    "line", ["import pickle", "from joblib import load", "torch.load(p)", "np.load(p)", "torch.save(x, p)"]
)
def test_a_pickle_would_be_noticed(line: str) -> None:
    assert unpickling(ast.parse(line))


def test_shipped_cards_fit_their_weights() -> None:
    for path in sorted((MODELS / "weights").glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        if "weights" not in card:  # vde: nothing is trained ahead
            continue
        model = load_model(card, path.with_name(card["weights"]["file"]))
        assert sum(p.numel() for p in model.parameters()) == card["weights"]["parameters"]
