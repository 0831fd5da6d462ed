"""Bond lengths, bond angles and sizes of a set of molecules, and how far they lie from those of another set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from chemistry.bonds.distance import distance_bonds
from chemistry.elements import symbol_of
from chemistry.metrics import HasAtoms

SIGNS = {1: "-", 2: "=", 3: "#"}
FEWEST = 50
"""A kind of length or angle seen less often in either set is not compared."""

Distributions = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Distance:
    """Wasserstein distance (in `unit`) between `n` samples of a quantity and `n_reference` reference values."""

    value: float
    unit: str
    n: int
    n_reference: int


def geometry(structures: Iterable[HasAtoms]) -> Distributions:
    """Pooled values by name: "length C=O" in Angstrom, "angle H-C-H" in degrees, "atoms" per molecule.

    Bonds come from the distance table, orders included.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for structure in structures:
        numbers, positions = structure.numbers.tolist(), np.asarray(structure.positions, dtype=np.float64)
        found["atoms"].append(len(numbers))
        bonds = distance_bonds(structure.numbers, positions)
        neighbors: dict[int, list[int]] = defaultdict(list)
        for i, j, order in zip(bonds.begin.tolist(), bonds.end.tolist(), bonds.order.tolist(), strict=True):
            first, second = sorted((symbol_of(numbers[i]), symbol_of(numbers[j])))
            found[f"length {first}{SIGNS[order]}{second}"].append(
                float(np.linalg.norm(positions[i] - positions[j]))
            )
            neighbors[i].append(j)
            neighbors[j].append(i)
        for center, around in neighbors.items():
            for place, i in enumerate(around):
                for j in around[:place]:
                    a, b = positions[i] - positions[center], positions[j] - positions[center]
                    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                    first, second = sorted((symbol_of(numbers[i]), symbol_of(numbers[j])))
                    name = f"angle {first}-{symbol_of(numbers[center])}-{second}"
                    found[name].append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    return {name: np.array(values) for name, values in found.items()}


def distances(
    samples: Distributions, reference: Distributions, *, fewest: int = FEWEST
) -> dict[str, Distance]:
    """The quantities that both sets show at least `fewest` times, the reference's most frequent first."""
    names = [
        name for name, values in reference.items() if min(len(values), len(samples.get(name, ()))) >= fewest
    ]
    units = {"length": "angstrom", "angle": "degree", "atoms": "atoms"}
    return {
        name: Distance(
            float(wasserstein_distance(samples[name], reference[name])),
            units[name.split()[0]],
            len(samples[name]),
            len(reference[name]),
        )
        for name in sorted(names, key=lambda name: -len(reference[name]))
    }
