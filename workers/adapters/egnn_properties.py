"""Property prediction: molecules in, properties with intervals and a domain flag out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from chemistry.formats import write_xyz
from chemistry.reasons import Failure
from models.egnn_properties.composition import TITLES, UNITS
from models.egnn_properties.model import PropertyEGNN
from models.egnn_properties.predict import Prediction, raw_predictions, with_intervals
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.adapters.molecule_rows import Given, read_for_scoring
from workers.adapters.molecules import failure_data, guarded
from workers.cards import Card
from workers.problems import ModelUnavailable
from workers.schemas.egnn_properties import PredictRequest

MOST_ATOMS = 200
"""Larger molecules are refused: the network's work grows with the square, and its data end far below."""

GEOMETRY_WARNING = (
    "The coordinates were made by ETKDG and MMFF94; the model learned from B3LYP geometries, so errors are larger "
    "than the intervals say. The model's card has the measured loss."
)
OUTSIDE = {
    "size": "has a number of atoms that the training data do not have",
    "charge": "is charged; all training molecules are neutral",
    "molecule": "is, as a whole, unlike the training molecules",
    "atom": "has an atom whose surroundings are unlike those in the training molecules",
}


class Adapter(FamilyAdapter):
    """One property model on one device."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights and the calibration."""
        card, model = load_weights(card, device)
        self.model = cast("PropertyEGNN", model)
        self.calibration: dict[str, Any] = (card.model_extra or {}).get("calibration", {})
        if not {"intervals", "domain"} <= set(self.calibration):
            raise ModelUnavailable(
                f"model {card.id} has no calibration in its card; finish its training", model=card.id
            )

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Read everything, then predict size by size."""
        request = cast("PredictRequest", work.request)
        ready: list[tuple[Item, Given]] = []
        for item, found in guarded(self._guard, read_for_scoring, work.items, cancelled):
            refused = found if isinstance(found, Failure) else self._refused(found)
            if isinstance(found, Failure) or refused is not None:
                yield Outcome(item, request, work.capability, refused)
            else:
                ready.append((item, found))
        numbers = [given.structure.numbers for _, given in ready]
        positions = [given.structure.positions for _, given in ready]
        for done, (row, raw) in enumerate(
            raw_predictions(self.model, numbers, positions, cancelled=cancelled), 1
        ):
            item, given = ready[row]
            made = with_intervals(
                raw, given.structure.n_atoms, self.calibration, self.model.properties, request.coverage / 100
            )
            yield Outcome(item, request, work.capability, (given, made))
            progress(StepProgress(done, len(ready)))

    def encode(self, outcome: Outcome) -> Row:
        """A row with the properties, or the reason why there are none."""
        if isinstance(outcome.value, Failure):
            return Row(outcome.item.index, failure_data(outcome.value))
        given, prediction = cast("tuple[Given, Prediction]", outcome.value)
        request = cast("PredictRequest", outcome.request)
        return predicted_row(outcome.item, request, given, prediction)

    def _refused(self, given: Given) -> Failure | None:
        """Why nothing can be predicted."""
        structure = given.structure
        known = set(self.model.elements)
        atoms = tuple(i for i, z in enumerate(structure.numbers.tolist()) if z not in known)
        if atoms:
            symbols = ", ".join(sorted({structure.symbols[atom] for atom in atoms}))
            message = f"the model does not know {symbols}"
            return Failure.because("unknown-element", message, atoms=atoms, title=structure.title)
        if structure.n_atoms > MOST_ATOMS:
            message = f"{structure.n_atoms} atoms; the limit is {MOST_ATOMS}"
            return Failure.because("too-large", message, title=structure.title)
        return None


def predicted_row(item: Item, request: PredictRequest, given: Given, prediction: Prediction) -> Row:
    """The row of a molecule: values with intervals, geometry, domain."""
    structure = given.structure
    embedded = item.format == "smiles"
    outside = [*prediction.outside, *(["charge"] if structure.charge else [])]
    wanted: Sequence[str] = request.properties or list(prediction.values)
    properties = {}
    for name in wanted:
        value, low, high = prediction.values[name]
        properties[name] = {
            "value": value, "low": low, "high": high, "unit": UNITS[name], "title": TITLES[name]
        }  # fmt: skip
    reasons = [
        {
            "code": f"outside-{kind}", "message": f"the molecule {OUTSIDE[kind]}",
            "atoms": [prediction.strangest] if kind == "atom" else [],
        }
        for kind in outside
    ]  # fmt: skip
    data = given.data | {
        "passed": True,
        "geometry": "etkdg" if embedded else "given",
        "warnings": [GEOMETRY_WARNING] if embedded else [],
        "coverage": request.coverage,
        "properties": properties,
        "in_domain": not outside,
        "domain_distances": dict(prediction.distances),
        "reasons": [*given.data["reasons"], *reasons],
        "seed": item.seed,
    }
    return Row(item.index, data, sdf=given.sdf, xyz=write_xyz(structure), svg=given.svg)
