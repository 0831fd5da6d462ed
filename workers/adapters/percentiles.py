"""Where a score stands among those of the reference molecules that a card tells."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.adapters.base import Row
from workers.cards import Card
from workers.schemas.base import JobRequest

OUTSIDE = 1.0
"""Percentile below which a molecule is called unlike the reference molecules."""

FIGURES = ("log_likelihood_per_bond", "log_likelihood_per_atom", "log_likelihood")
"""The columns that a percentile may be of; the first one that a row has is the one that sizes spoil least."""


def standing(value: float, reference: Mapping[str, Any], figure: str = "log_likelihood") -> dict[str, Any]:
    """Percentile among the 101 quantiles that `reference` has of the figure, and whether that is usual."""
    percentile = percentile_of(value, reference.get(figure, []))
    outside = percentile is not None and percentile < OUTSIDE
    message = f"log p is lower than that of {100 - OUTSIDE:g} % of the reference molecules"
    return {
        "percentile": percentile,
        "percentile_among": reference.get("data"),
        "in_domain": None if percentile is None else not outside,
        "reasons": [{"code": "outside-density", "message": message, "atoms": []}] if outside else [],
    }


def percentile_of(value: float, quantiles: Sequence[float]) -> float | None:
    """Where a value stands among 101 ascending quantiles, by interpolation; None without any."""
    if not quantiles:
        return None
    if value <= quantiles[0]:
        return 0.0
    if value >= quantiles[-1]:
        return 100.0
    place = bisect.bisect_right(quantiles, value) - 1
    low, high = quantiles[place], quantiles[place + 1]
    return round((place + (value - low) / (high - low)) * 100 / (len(quantiles) - 1), 2)


def with_standing(row: Row, card: Card | None, request: JobRequest) -> Row:
    """A scored row with its percentile, where the card has a reference of scores made in the same way.

    Rows that have one already, or no finite score, stay as they are. The number of random draws may differ.
    """
    reference = None if card is None else (card.model_extra or {}).get("reference")
    if not reference or "percentile" in row.data:
        return row
    figure = next((name for name in FIGURES if name in reference), None)
    value = row.data.get(figure) if figure else None
    wanted = reference.get("request", {})
    same = all(getattr(request, name, None) == given for name, given in wanted.items() if name != "draws")
    if figure is None or value is None or not same:
        return row
    found = standing(float(value), reference, figure)
    usual = found["in_domain"] is not False and row.data.get("in_domain") is not False
    reasons = [*row.data.get("reasons", ()), *found["reasons"]]
    return replace(row, data=row.data | found | {"in_domain": usual, "reasons": reasons})
