"""`equimol evaluate`: figures with intervals go into the card, those of real data beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from chemistry.datasets import store
from chemistry.datasets.importing import ImportOptions, import_molecules
from chemistry.guard import Guard
from models.core.errors import CheckpointError, ConfigError
from models.edm.model import EDM
from models.training.evaluations import Options, evaluation
from models.training.evaluations.command import evaluate, read_settings
from models.weights import load_model
from models.weights.files import save_model

SMILES = ("CCO", "CCN", "CCC", "C1CC1", "CC=O", "CC#N", "COC", "CNC", "CO", "CN", "C=C", "C#C")


@pytest.fixture
def card(make_edm: Callable[..., EDM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The card of a small untrained EDM whose data are twelve molecules."""
    monkeypatch.setenv("EQUIMOL_CACHE", str(tmp_path / "cache"))
    with Guard(timeout_seconds=30) as guard:
        options = ImportOptions("smiles", valid_fraction=0.2, test_fraction=0.5)
        splits = import_molecules([f"{text}\n" for text in SMILES], options, guard).splits
    store.write(store.named_folder("few"), "few", splits, {})
    sizes = {str(n): 1 for n in range(4, 12)}
    values = {
        "id": "small", "family": "edm", "config": make_edm().config | {"sizes": sizes}, "title": "small",
        "defaults": {"sample": {"steps": 4}}, "training": {"data": "few"}, "metrics": [],
    }  # fmt: skip
    return save_model(make_edm(), values, tmp_path)


def run(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "160"})
    return result.exit_code, result.output + str(result.exception or "")


def test_every_figure_has_its_interval_its_size_and_its_command(card: Path) -> None:
    code, text = run(str(card), "--samples", "12", "--test-items", "3", "--set", "churn=0.5")
    assert code == 0, text
    metrics = {metric["name"]: metric for metric in json.loads(card.read_text())["metrics"]}
    assert {"atom_stable", "molecule_stable", "valid", "unique", "connected", "novel"} <= metrics.keys()
    for name in ("atom_stable", "molecule_stable", "valid", "connected"):
        found = metrics[name]
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
        assert found["steps"] == 4 and found["churn"] == 0.5
        assert "--set churn=0.5" in found["command"] and "--samples 12" in found["command"]
        assert found["data"] > found["value"]  # real molecules beat an untrained model
    assert metrics["valid"]["n"] == 12
    assert metrics["negative_bound"]["low"] < metrics["negative_bound"]["high"]
    load_model(
        json.loads(card.read_text()), card.with_suffix(".safetensors")
    )  # the card still names its weights


def test_the_same_seed_gives_the_same_figures(card: Path) -> None:
    values = []
    for _ in range(2):
        run(str(card), "--samples", "8", "--test-items", "2", "--seed", "5")
        values.append([metric["value"] for metric in json.loads(card.read_text())["metrics"]])
    assert values[0] == values[1]


def test_a_card_can_be_left_as_it_is(card: Path) -> None:
    before = card.read_bytes()
    code, text = run(str(card), "--samples", "4", "--test-items", "0", "--no-write")
    assert code == 0, text
    assert card.read_bytes() == before


def test_settings_that_the_family_does_not_know_are_refused(card: Path) -> None:
    code, text = run(str(card), "--samples", "4", "--set", "glow=1")
    assert code != 0
    assert "glow" in text and "churn" in text


def test_settings_are_json_or_text() -> None:
    assert read_settings(["a=1.5", "b=true", "c=heun", 'd=[1, "x"]']) == {
        "a": 1.5, "b": True, "c": "heun", "d": [1, "x"],
    }  # fmt: skip
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        read_settings(["steps"])


def test_an_unknown_family_and_an_unknown_model_are_named() -> None:
    with pytest.raises(CheckpointError, match="'alchemy'"):
        evaluation("alchemy")
    code, text = run("no-such-model")
    assert code != 0 and "edm-qm9" in text


def test_options_refuse_what_nobody_reads() -> None:
    with pytest.raises(ConfigError, match="glow"):
        Options(settings={"glow": 1}).only("steps")
