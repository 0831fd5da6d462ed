"""The EDM family behind the seam, with a tiny untrained model: laws that hold for any weights."""

import json

import numpy as np
import pytest

from workers.adapters.base import Item
from workers.cards import load_card
from workers.engine import Engine, Shard
from workers.inputs import records_of
from workers.problems import ModelUnavailable, Validation
from workers.schemas.edm import Filters, SampleRequest, ScoreRequest
from workers.settings import Settings

CONFIG = {
    "elements": [1, 6, 7, 8, 9],
    "sizes": {"3": 1, "5": 4, "6": 5, "9": 2},
    "process": {"kind": "variance-exploding", "minimum": 0.004, "maximum": 20.0},
    "network": {
        "width": 16,
        "message_width": 8,
        "layers": 2,
        "divisor": 10.0,
        "radial": 4,
        "radial_cutoff": 6.0,
    },
}
CARD = {
    "id": "tiny",
    "family": "edm",
    "title": "Tiny",
    "capabilities": ["sample", "score"],
    "size_range": [3, 9],
    "config": CONFIG,
}
WATER = "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


@pytest.fixture(scope="session")
def tiny_card(tmp_path_factory):
    """A card with untrained weights, written as real ones are."""
    import torch

    from models.edm.model import EDM
    from models.weights import save_model

    torch.manual_seed(0)
    return load_card(save_model(EDM(CONFIG), CARD, tmp_path_factory.mktemp("weights")))


@pytest.fixture
def run(engine, tiny_card):
    def run_items(request, items, capability="sample", cancelled=lambda: False, progress=lambda step: None):
        shard = Shard("edm", tiny_card, capability, request, tuple(items))
        return {row.index: row for row in engine.run(shard, progress, cancelled)}

    return run_items


def items(indices, seed=3):
    return [Item(index, seed) for index in indices]


def coordinates(row):
    lines = row.xyz.splitlines()[2:]
    return [line.split()[0] for line in lines], np.array([line.split()[1:4] for line in lines], dtype=float)


def test_a_molecule_is_the_same_alone_and_in_any_batch(run):
    request = SampleRequest(steps=10)
    together = run(request, items(range(6)))
    for index in (0, 5):
        alone = run(request, items([index]))[index]
        symbols, positions = coordinates(together[index])
        assert coordinates(alone)[0] == symbols
        np.testing.assert_allclose(coordinates(alone)[1], positions, atol=1e-3)
        assert alone.data["n_atoms"] == together[index].data["n_atoms"]
        assert alone.data["smiles"] == together[index].data["smiles"]


def test_the_same_shard_gives_the_same_bytes(run):
    request = SampleRequest(steps=10)
    assert run(request, items(range(4))) == run(request, items(range(4)))


def test_another_seed_gives_other_molecules(run):
    request = SampleRequest(steps=5, n_atoms=5)
    assert run(request, items([0]))[0].xyz != run(request, items([0], seed=4))[0].xyz


@pytest.mark.parametrize(
    ("n_atoms", "expected"),
    [(7, [7] * 4), ([3, 9], [3, 9, 3, 9]), ({"min": 6, "max": 6}, [6] * 4)],
)
def test_sizes_are_those_asked_for(n_atoms, expected, run):
    rows = run(SampleRequest(n_atoms=n_atoms, steps=3), items(range(4)))
    assert [rows[i].data["n_atoms"] for i in range(4)] == expected


def test_sizes_by_the_data_come_from_the_data(run):
    rows = run(SampleRequest(steps=2), items(range(12)))
    assert {row.data["n_atoms"] for row in rows.values()} <= {3, 5, 6, 9}


def test_a_range_without_data_is_refused_with_the_sizes_there_are(run):
    with pytest.raises(Validation, match="3 to 9"):
        run(SampleRequest(n_atoms={"min": 7, "max": 8}, steps=2), items([0]))


def test_cancel_takes_effect_before_the_next_network_call(run):
    steps = []
    rows = run(
        SampleRequest(steps=50),
        items(range(3)),
        progress=lambda step: steps.append(step.steps),
        cancelled=lambda: len(steps) >= 7,
    )
    assert rows == {} and steps[-1] == 7


def test_progress_counts_every_network_call(run):
    seen = []
    run(SampleRequest(steps=12), items(range(3)), progress=seen.append)
    assert [step.steps for step in seen] == list(range(1, 13))
    assert {step.steps_total for step in seen} == {12}


def test_trajectories_hold_the_frames_asked_for_and_end_with_the_molecule(run):
    row = run(SampleRequest(steps=10, n_atoms=5, keep_trajectory=4), items([0]))[0]
    assert row.trajectory.count("frame=") == 4
    assert len(row.trajectory.splitlines()) == 4 * 7


def test_filters_decide_what_passes_and_keep_every_row(run):
    loose = run(SampleRequest(steps=3), items(range(5)))
    strict = run(SampleRequest(steps=3, filters=Filters(stable=True, connected=True)), items(range(5)))
    assert all(row.data["passed"] for row in loose.values())
    assert [row.data["passed"] for row in strict.values()] == [
        row.data["stable"] and row.data["connected"] for row in loose.values()
    ]


def scored(run, text, format="xyz", **fields):
    request = ScoreRequest(molecules={"smiles": ["C"]}, draws=4, **fields)
    records = records_of(text.encode(), format)
    given = [Item(index, 3, record, format) for index, record in enumerate(records)]
    return run(request, given, capability="score")


def test_scores_come_with_their_error_and_their_terms(run):
    row = scored(run, WATER)[0]
    assert row.data["kind"] == "lower_bound" and row.data["draws"] == 4
    assert row.data["log_likelihood"] == pytest.approx(sum(row.data["terms"].values()))
    assert row.data["standard_error"] > 0
    assert row.data["smiles"] == "O"


def test_a_score_does_not_depend_on_its_neighbors(run):
    alone = scored(run, WATER)[0].data["log_likelihood"]
    beside = scored(run, WATER + WATER.replace("0.7572", "0.8"))[0].data["log_likelihood"]
    assert alone == pytest.approx(beside, rel=1e-4)


def test_what_the_model_cannot_score_gets_a_reason_and_spoils_nothing(run):
    chlorine = "2\nx\nH 0 0 0\nCl 0 0 1.27\n"
    four = "4\nammonia\nN 0 0 0.1\nH 0.94 0 -0.27\nH -0.47 0.81 -0.27\nH -0.47 -0.81 -0.27\n"
    rows = scored(run, chlorine + WATER + four + "3\ncut\nO 0 0 0\n")
    assert [rows[i].data["reasons"][0]["code"] for i in (0, 2, 3)] == [
        "unknown-element",
        "size",
        "bad-record",
    ]
    assert rows[2].data["log_likelihood"] is None and rows[2].data["terms"]["size"] is None
    assert rows[1].data["log_likelihood"] is not None
    assert all(json.dumps(row.data, allow_nan=False) for row in rows.values())


def test_damaged_weights_are_refused(tiny_card, tmp_path):
    folder = tiny_card.weights_path.parent
    for name in ("tiny.json", "tiny.safetensors"):
        data = (folder / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] + b"?" if name.endswith("safetensors") else data)
    with pytest.raises(ModelUnavailable, match="sha256"):
        Engine(Settings(), "cpu").adapter("edm", load_card(tmp_path / "tiny.json"))


def test_running_out_of_memory_does_not_change_the_molecules(run, engine, tiny_card, monkeypatch):
    request = SampleRequest(steps=5, n_atoms=5)
    whole = run(request, items(range(6)))
    model = engine.adapter("edm", tiny_card).model
    real = model.sampling

    def tight(sizes, seeds, **options):
        if len(sizes) > 2:
            raise MemoryError("a small device")
        return real(sizes, seeds, **options)

    monkeypatch.setattr(model, "sampling", tight)
    split = run(request, items(range(6)))
    for index, row in whole.items():
        assert coordinates(split[index])[0] == coordinates(row)[0]
        np.testing.assert_allclose(coordinates(split[index])[1], coordinates(row)[1], atol=1e-3)
