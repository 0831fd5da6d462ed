"""Percentiles of scores: by the card alone, for scores made in the same way, for every family."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chemistry.datasets import store
from chemistry.datasets.held_out import held_out_records
from chemistry.datasets.importing import ImportOptions, import_molecules
from chemistry.errors import DatasetError
from chemistry.formats import read_structures, write_smiles
from chemistry.guard import Guard
from chemistry.smiles import canonical_smiles
from chemistry.structure import Structure
from workers.adapters.base import Item, Row
from workers.adapters.percentiles import percentile_of, with_standing
from workers.cards import Card, CardShelf, load_cards
from workers.families import capabilities
from workers.problems import Validation
from workers.reference import reference, score_reference
from workers.schemas.base import InputRequest
from workers.schemas.edm import ScoreRequest
from workers.schemas.report import ReportRequest, askable

QUANTILES = [float(k) for k in range(101)]
SMILES = (
    "CCO", "CCN", "CCC", "CC=O", "COC", "CNC", "CO", "CN", "CCF", "C#C", "CC#N", "C1CC1", "C1CO1", "CC(C)O", "CCOC",
    "CC(=O)C", "CCC=O", "OCCO", "NCCO", "CC(=O)N", "c1ccoc1", "c1cc[nH]c1", "CC(C)(C)O", "C1CCC1",
)  # fmt: skip


def test_a_percentile_is_where_the_value_stands_among_the_quantiles() -> None:
    assert [percentile_of(v, QUANTILES) for v in (-1.0, 0.0, 0.25, 50.0, 100.0, 200.0)] == [
        0,
        0,
        0.25,
        50,
        100,
        100,
    ]
    assert percentile_of(3.0, []) is None
    assert percentile_of(1.0, [0.0] * 51 + [1.0] * 50) == 100.0  # ties do not divide by zero


def card(**reference: object) -> Card:
    return Card.model_validate({"id": "a", "family": "edm", "title": "a", "reference": reference})


def scored(value: float | None, **more: object) -> Row:
    return Row(0, {"log_likelihood": value, "reasons": [], **more}, sdf="kept")


@pytest.mark.parametrize(
    ("value", "percentile", "usual"), [(40.0, 40.0, True), (0.5, 0.5, False), (-9.0, 0.0, False)]
)
def test_a_scored_row_gets_its_percentile_and_whether_that_is_usual(
    value: float, percentile: float, usual: bool
) -> None:
    request = ScoreRequest.model_validate({"molecules": {"smiles": ["C"]}, "draws": 4})
    known = card(log_likelihood=QUANTILES, data="qm9/valid", request={"draws": 8, "method": "bound"})
    row = with_standing(scored(value), known, request)
    assert row.data["percentile"] == percentile and row.data["in_domain"] is usual
    assert row.data["percentile_among"] == "qm9/valid" and row.sdf == "kept"
    assert [reason["code"] for reason in row.data["reasons"]] == ([] if usual else ["outside-density"])
    foreign = with_standing(scored(value, in_domain=False), known, request)
    assert foreign.data["in_domain"] is False  # the model's own verdict stays


def test_scores_made_in_another_way_or_without_a_value_get_none() -> None:
    flow = ScoreRequest.model_validate({"molecules": {"smiles": ["C"]}, "method": "probability-flow"})
    bound = ScoreRequest.model_validate({"molecules": {"smiles": ["C"]}})
    known = card(log_likelihood=QUANTILES, request={"method": "bound"})
    for row, told, request in (
        (scored(4.0), known, flow),
        (scored(None), known, bound),
        (scored(4.0), card(), bound),
        (scored(4.0), None, bound),
        (scored(4.0, percentile=None), known, bound),
        (Row(0, {"valid": False, "reasons": []}), known, bound),
    ):
        assert with_standing(row, told, request) == row


def test_of_two_figures_the_one_that_sizes_spoil_less_is_compared() -> None:
    known = card(log_likelihood_per_bond=QUANTILES)
    row = scored(500.0, log_likelihood_per_bond=25.0)
    request = ScoreRequest.model_validate({"molecules": {"smiles": ["C"]}})
    assert with_standing(row, known, request).data["percentile"] == 25.0


def test_every_model_whose_card_scores_molecules_is_asked_for_the_report() -> None:
    shelf = CardShelf(())
    asked = {(card.id, capability) for card, capability, _ in askable(shelf, {})}
    expected = {
        (card.id, capability)
        for card in load_cards().values()
        for capability in ("score", "predict")
        if capability in card.capabilities
        and issubclass(capabilities(card.family, {})[capability], InputRequest)
    }
    assert asked == expected
    assert {"edm-qm9", "survae-conformers", "ddf-fingerprints", "egnn-qm9"} <= {name for name, _ in asked}


def test_a_model_without_weights_is_pointed_at() -> None:
    shelf = CardShelf(())
    broken = shelf.cards["edm-qm9"].model_copy()
    broken._folder = shelf.cards["edm-qm9"]._folder / "nowhere"
    shelf.cards["edm-qm9"] = broken
    request = ReportRequest.model_validate(
        {"molecules": {"smiles": ["C"]}, "models": ["egnn-qm9", "edm-qm9"]}
    )
    with pytest.raises(Validation) as caught:
        request.check_shelf(shelf, {})
    assert caught.value.extensions["errors"] == [
        {"pointer": "/models/1", "detail": "the weights of edm-qm9 are not installed"}
    ]


def test_the_reference_is_what_the_service_would_score(run_rows) -> None:
    """Twenty-four molecules become quantiles, and each of them then stands where it is among them."""
    known = load_cards()["survae-conformers"]
    records = [(smiles, "smiles") for smiles in SMILES]
    told: list[int] = []
    found = score_reference(known, records, {}, progress=told.append)
    assert sum(told) == found["molecules"] == len(SMILES)
    quantiles = found["log_likelihood_per_bond"]
    assert len(quantiles) == 101 and quantiles == sorted(quantiles)
    assert found["request"] == {}  # nothing that changes a score
    again = known.model_copy(update={"reference": found | {"data": "here"}})
    again._folder = known._folder
    request = capabilities("survae_conformers", {})["score"].model_validate(
        {"molecules": {"smiles": ["C"]}, "bonds": False}
    )
    items = [Item(k, 0, text.encode(), form) for k, (text, form) in enumerate(records)]
    rows = run_rows("survae_conformers", again, "score", request, items)
    values = [row["log_likelihood_per_bond"] for row in rows]
    assert min(values) == pytest.approx(quantiles[0], abs=1e-3)
    lowest, highest = values.index(min(values)), values.index(max(values))
    assert rows[lowest]["percentile"] < 5 and not rows[lowest]["percentile"] > rows[highest]["percentile"]
    assert rows[highest]["percentile"] == pytest.approx(100, abs=0.1)


def test_a_model_that_scores_no_molecules_has_no_reference() -> None:
    with pytest.raises(Validation, match="scores no molecules"):
        score_reference(load_cards()["enf-dw4"], [("C", "smiles")], {})


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of the molecules above, most of them held out."""
    monkeypatch.setenv("EQUIMOL_CACHE", str(tmp_path / "cache"))
    with Guard(timeout_seconds=60) as guard:
        options = ImportOptions("smiles", valid_fraction=0.9, test_fraction=0.0)
        splits = import_molecules([f"{text}\n" for text in SMILES], options, guard).splits
    store.write(store.named_folder("few"), "few", splits, {})
    return "few"


def test_held_out_molecules_come_with_their_bonds(few: str) -> None:
    records = held_out_records(few, 5)
    assert 3 <= len(records) <= 5 and {form for _, form in records} == {"sdf"}
    for text, form in records:
        found = next(iter(read_structures(text, "sdf")))
        assert isinstance(found, Structure) and found.bonds and form == "sdf"
        assert write_smiles(found) in {canonical_smiles(known) for known in SMILES}
    with pytest.raises(DatasetError):
        held_out_records("nothing", 5)


def test_the_command_writes_the_quantiles_with_itself_into_the_card(few: str, tmp_path: Path) -> None:
    shipped = load_cards()["survae-conformers"]
    assert shipped.weights_path is not None
    shutil.copy(shipped.weights_path, tmp_path)
    path = tmp_path / "mine.json"
    values = shipped.model_dump(mode="json") | {"id": "mine", "training": {"data": f"{few}-lengths"}}
    path.write_text(json.dumps(values))
    reference(str(path), molecules=20, set=["bonds=false"], seed=3)
    found = json.loads(path.read_text())["reference"]
    assert found["command"] == "equimol reference mine --molecules 20 --seed 3 --set bonds=false"
    assert found["data"] == "few/valid" and 15 <= found["molecules"] <= 20
    assert len(found["log_likelihood_per_bond"]) == 101
