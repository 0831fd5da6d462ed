"""What all string models are measured by: MOSES' metrics of their samples, n-grams beside their likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemistry.moses import (
    Described,
    cosine,
    describe,
    internal_diversity,
    nearest_similarity,
    novelty,
    property_distances,
    unique_at,
)
from chemistry.smiles import canonical_smiles
from models.strings.ngrams import NGrams
from models.training.data.strings import StringData, load, smiles
from models.training.evaluations import Metric
from models.training.evaluations.figures import share, significant

REFERENCE = 10_000
"""Molecules of the test split that samples are compared with, evenly spread."""
NAT = float(np.log(2))
PUBLISHED = {
    "valid": 0.9748,
    "unique_at_1000": 1.0,
    "unique_at_10000": 0.9994,
    "novel": 0.8419,
    "filters": 0.9943,
    "internal_diversity": 0.8562,
    "internal_diversity_2": 0.8503,
    "nearest_neighbor_similarity": 0.6015,
    "fragment_similarity": 0.9998,
    "scaffold_similarity": 0.9242,
}
"""MOSES' CharRNN, of its baselines the nearest to the data (https://doi.org/10.3389/fphar.2020.565644): 30,000
samples, compared with all of the test split, where a nearest neighbor is nearer than among `REFERENCE` of it.
"""


def spread(count: int, most: int) -> list[int]:
    """`most` numbers below `count`, evenly spread."""
    rows: list[int] = np.linspace(0, count - 1, min(most, count)).astype(int).tolist()
    return rows


@cache
def reference(data: str, most: int = REFERENCE) -> Described:
    """The test molecules that samples are compared with."""
    texts = smiles(data, "test")
    return describe([texts[row] for row in spread(len(texts), most)])


def sample_metrics(
    strings: Sequence[str], data: str, *, most: int = REFERENCE, said: Mapping[str, Any] = {}
) -> list[Metric]:
    """MOSES' metrics of generated strings; `data` has those of as many test molecules, taken between the reference
    ones. `said` goes into every figure.
    """
    test = smiles(data, "test")
    real = [test[row] for row in (np.array(spread(len(test), len(strings))) + 7) % len(test)]
    training = frozenset(smiles(data, "train")) | frozenset(smiles(data, "valid"))
    compared = reference(data, most)
    valid = np.array([canonical_smiles(text) is not None for text in strings])
    metrics: list[Metric] = [share("valid", valid) | {"data": 1.0}]
    if valid.sum() >= 2:
        ours, theirs = _figures(strings, compared, training), _figures(real, compared, training)
        metrics += [
            {
                "name": name,
                "value": significant(value),
                "n": int(valid.sum()),
                "data": significant(theirs[name]),
            }
            for name, value in ours.items()
        ]
    published = PUBLISHED if data == "moses-smiles" else {}
    return [
        metric
        | ({"published": published[metric["name"]]} if metric["name"] in published else {})
        | {"reference": most}
        | dict(said)
        for metric in metrics
    ]


def _figures(strings: Sequence[str], compared: Described, training: frozenset[str]) -> dict[str, float]:
    found = describe(strings)
    _, first = np.unique(np.array(found.smiles), return_index=True)
    different = found.fingerprints[first]
    return {
        "unique_at_1000": unique_at(found.smiles, 1000),
        "unique_at_10000": unique_at(found.smiles, 10_000),
        "novel": novelty(found.smiles, training),
        "filters": float(found.passed.mean()),
        "internal_diversity": internal_diversity(different),
        "internal_diversity_2": internal_diversity(different, 2),
        "nearest_neighbor_similarity": float(nearest_similarity(found, compared).mean()),
        "fragment_similarity": cosine(found.fragments, compared.fragments),
        "scaffold_similarity": cosine(found.scaffolds, compared.scaffolds),
        **{f"distance_of_{name}": value for name, value in property_distances(found, compared).items()},
    }


def likelihood_metric(name: str, log_probs: NDArray[np.float64], **said: Any) -> Metric:
    """Mean bits per molecule with its 95 % interval over molecules."""
    bits = -log_probs / NAT
    half = 1.96 * bits.std(ddof=1) / np.sqrt(len(bits))
    mean = float(bits.mean())
    return {
        "name": name, "unit": "bits", "value": round(mean, 3), "low": round(float(mean - half), 3),
        "high": round(float(mean + half), 3), "n": len(bits), **said,
    }  # fmt: skip


def ngram_metrics(data: str, strings: Sequence[Sequence[int]], watch: Callable[[int], None]) -> list[Metric]:
    """Bits per molecule of n-grams of orders 2 to 5, counted on the whole train split."""
    train: StringData = load(data, "train")
    grams = NGrams(np.asarray(train.ids), train.offsets, len(train.vocabulary), 5)
    watch(1)
    return [
        likelihood_metric(
            f"bits_per_molecule_{order}_gram", grams.log_prob(strings, order), counted=len(train)
        )
        for order in (2, 3, 4, 5)
    ]
