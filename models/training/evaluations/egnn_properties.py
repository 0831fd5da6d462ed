"""Properties by their error on the test split, beside the linear atom-count model and the mean; intervals, flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets import MoleculeDataset
from chemistry.formats.smiles import embed
from chemistry.structure import Structure
from models.egnn_properties.composition import UNITS
from models.egnn_properties.conformal import COVERAGES, half_width
from models.egnn_properties.fitting import calibrate, fit_domain
from models.egnn_properties.model import PropertyEGNN
from models.egnn_properties.predict import DISTANCES, Raw, raw_predictions
from models.training.data.properties import PropertyData, atom_counts, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant

FIT_MOLECULES = 20_000
EMBEDDED = 300
NOISE = (0.05, 0.1, 0.2)
"""Angstrom: standard deviations of the distortions that the domain flag is shown."""

PUBLISHED = {
    "mu": 0.029, "alpha": 0.071, "homo": 0.029, "lumo": 0.025, "gap": 0.048, "r2": 0.106, "zpve": 1.55,
    "u0": 0.011, "u": 0.012, "h": 0.012, "g": 0.012, "cv": 0.031,
}  # fmt: skip
"""Mean absolute errors of the paper's EGNN (arXiv 2102.09844, table 3), in the units of `UNITS`; one network of
seven layers for each property.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Raw predictions of some molecules, stacked."""

    values: Floats
    scales: Floats
    distances: Floats

    def flagged(self, calibration: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which molecules either distance calls unlike the training data."""
        borders = np.array([calibration["domain"][name] for name in DISTANCES])
        out: NDArray[np.bool_] = ~np.all(self.distances <= borders, axis=1)
        return out


def predict(
    model: PropertyEGNN, numbers: Sequence[Any], positions: Sequence[Any], watch: Watch, what: str
) -> Found:
    """Raw predictions in the order of the molecules."""
    found: list[Raw | None] = [None] * len(numbers)
    for done, (row, raw) in enumerate(raw_predictions(model, numbers, positions), 1):
        found[row] = raw
        if done % 500 == 0 or done == len(numbers):
            watch(what, done, len(numbers))
    raws = [raw for raw in found if raw is not None]
    return Found(*(np.stack([raw[k] for raw in raws]) for k in range(3)))


def split_arrays(data: MoleculeDataset, rows: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """Numbers and positions of some molecules."""
    records = [data[row] for row in rows]
    return [record.numbers for record in records], [record.positions for record in records]


def spread_rows(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` rows, evenly spread."""
    rows: list[int] = np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int)).tolist()
    return rows


def finish(model: PropertyEGNN, data: str) -> dict[str, Any]:
    """After training: fit the domain on training molecules, intervals and thresholds on the validation split."""
    train, valid = load(data, "train"), load(data, "valid")
    fit_domain(model, *split_arrays(train.molecules, spread_rows(len(train), FIT_MOLECULES)))
    sizes = sorted(train.size_histogram())
    rows = list(range(len(valid)))
    found = calibrate(model, *split_arrays(valid.molecules, rows), valid.targets, (sizes[0], sizes[-1]))
    return {"calibration": found | {"data": f"{data}/valid", "geometry": "B3LYP/6-31G(2df,p)"}}


def evaluate(model: PropertyEGNN, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Errors on `test_items` test molecules (0 or more than there are: all), coverage, false alarms, distortions.

    Settings: embedded, the number of test molecules whose geometry is made anew from their SMILES.
    """
    settings = options.only("embedded")
    name, calibration = card["training"]["data"], card["calibration"]
    train, test = load(name, "train"), load(name, "test")
    rows = spread_rows(len(test), options.test_items or len(test))
    numbers, positions = split_arrays(test.molecules, rows)
    wanted = test.targets[rows]
    found = predict(model, numbers, positions, watch, "test molecules")
    linear, mean = baselines(train, test, rows)
    metrics: list[Metric] = []
    for k, prop in enumerate(model.properties):
        metrics.append(
            mean_metric(f"mae_{prop}", np.abs(found.values[:, k] - wanted[:, k]), UNITS[prop])
            | {"linear": significant(linear[:, k].mean()), "mean": significant(mean[:, k].mean())}
            | {"baseline": significant(linear[:, k].mean()), "published": PUBLISHED.get(prop)}
        )
    metrics += coverage(model, calibration, found, wanted)
    metrics.append(share("false_alarms", found.flagged(calibration)))
    metrics += distortions(model, calibration, numbers, positions, options.seed, watch)
    metrics += embedded(model, calibration, test, settings.get("embedded", EMBEDDED), watch)
    return metrics


def baselines(train: PropertyData, test: PropertyData, rows: Sequence[int]) -> tuple[Floats, Floats]:
    """Absolute errors `[rows, properties]` of the linear atom-count model and of the mean."""
    counts = np.column_stack([atom_counts(train.molecules), np.ones(len(train))])
    fitted, *_ = np.linalg.lstsq(counts, train.targets, rcond=None)
    seen = np.column_stack([atom_counts(test.molecules), np.ones(len(test))])[rows]
    wanted = test.targets[rows]
    return np.abs(seen @ fitted - wanted), np.abs(train.targets.mean(0) - wanted)


def coverage(
    model: PropertyEGNN, calibration: Mapping[str, Any], found: Found, wanted: Floats
) -> list[Metric]:
    """Measured coverage of the 90 % interval of each property, and of every level over all properties."""
    scores = np.abs(found.values - wanted) / found.scales
    tables = [calibration["intervals"][prop] for prop in model.properties]
    out = []
    for k, prop in enumerate(model.properties):
        half = half_width(tables[k], 0.9) * found.scales[:, k]
        out.append(
            share(f"coverage_90_{prop}", scores[:, k] <= half_width(tables[k], 0.9))
            | {"mean_half_width": significant(half.mean()), "half_width_unit": UNITS[prop]}
        )
    for level in COVERAGES:
        inside = np.stack([scores[:, k] <= half_width(table, level) for k, table in enumerate(tables)], 1)
        out.append(
            {
                "name": f"coverage_{100 * level:g}",
                "unit": "share",
                "value": round(float(inside.mean()), 5),
                "n": inside.size,
            }
        )
    return out


def distortions(
    model: PropertyEGNN, calibration: Mapping[str, Any], numbers: Sequence[Any], positions: Sequence[Any],
    seed: int, watch: Watch,
) -> list[Metric]:  # fmt: skip
    """Share of distorted test molecules that the domain flag finds: every atom moved by Gaussian noise."""
    rows = spread_rows(len(numbers), 500)
    out = []
    for width in NOISE:
        source = np.random.default_rng([seed, round(1000 * width)])
        moved = [positions[row] + width * source.standard_normal(positions[row].shape) for row in rows]
        found = predict(model, [numbers[row] for row in rows], moved, watch, f"distorted by {width} Angstrom")
        out.append(share(f"flagged_noise_{width}", found.flagged(calibration)))
    return out


def embedded(
    model: PropertyEGNN, calibration: Mapping[str, Any], test: PropertyData, count: int, watch: Watch
) -> list[Metric]:
    """Errors with geometries made from SMILES by ETKDG and MMFF94, beside those with the DFT geometry (`given`)."""
    pairs: list[tuple[int, Structure]] = []
    for row in spread_rows(len(test), count):
        made = embed(test.molecules.smiles[row], seed=row)
        same = isinstance(made, Structure) and sorted(made.numbers) == sorted(test.molecules[row].numbers)
        if isinstance(made, Structure) and same:
            pairs.append((row, made))
        watch("embedded molecules", len(pairs), count)
    if not pairs:
        return []
    rows = [row for row, _ in pairs]
    guessed = predict(
        model, [made.numbers for _, made in pairs], [made.positions for _, made in pairs], watch, "embedded"
    )
    given = predict(model, *split_arrays(test.molecules, rows), watch, "the same as given")
    wanted = test.targets[rows]
    out = []
    for k, prop in enumerate(model.properties):
        before = np.abs(given.values[:, k] - wanted[:, k]).mean()
        inside = np.abs(guessed.values[:, k] - wanted[:, k]) <= (
            half_width(calibration["intervals"][prop], 0.9) * guessed.scales[:, k]
        )
        out.append(
            mean_metric(f"mae_etkdg_{prop}", np.abs(guessed.values[:, k] - wanted[:, k]), UNITS[prop])
            | {"given": significant(before), "coverage_90": round(float(inside.mean()), 4)}
        )
    out.append(share("flagged_etkdg", guessed.flagged(calibration)))
    return out
