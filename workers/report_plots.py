"""The pictures of the report, as SVG inside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

UNUSUAL, RARE = 5.0, 1.0
"""Percentiles below which a molecule is drawn as unusual, and as unlike the reference molecules."""

LEFT, WIDTH, LINE = 170, 480, 26
"""Of the plots in pixels: the room for names, the axis, a line."""

MOST_COLUMNS = 200
"""Molecules of the overview; more would be thinner than a pixel's worth of looking."""


def number(value: Any) -> str:
    """Four digits; a dash where there is none."""
    return f"{value:.4g}" if isinstance(value, int | float) else "\N{EN DASH}"


def tone(percentile: float) -> str:
    """The class of a percentile; the page's style gives it a color."""
    return "rare" if percentile < RARE else "odd" if percentile < UNUSUAL else "usual"


def bar(percentile: Any) -> str:
    """Where a molecule stands between the least and the most likely reference molecule."""
    if not isinstance(percentile, int | float):
        return ""
    x = 2 + 96 * percentile / 100
    return (
        f'<svg class="{tone(percentile)}" width="150" height="14" role="img" '
        f'aria-label="percentile {percentile:g}">'
        '<rect class="axis" x="2" y="6" width="96" height="2"/>'
        f'<circle cx="{x:.1f}" cy="7" r="4"/>'
        f'<text x="106" y="11">{percentile:.3g}</text></svg>'
    )


def strips(percentiles: Mapping[str, Sequence[float]]) -> str:
    """A line for each model, a dot for each molecule: how usual the whole set is."""
    if not percentiles:
        return ""
    height = LINE * len(percentiles) + 40
    parts = [
        f'<svg class="plot" width="{LEFT + WIDTH + 30}" height="{height}" role="img" '
        'aria-label="percentiles of all molecules, model by model">'
    ]
    bottom = LINE * len(percentiles) + 6
    for tick in (0, 1, 5, 25, 50, 75, 100):
        x = LEFT + WIDTH * tick / 100
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{bottom}"/>')
        if tick != 1:  # no room for its number beside that of 0
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}">{tick}</text>')
    for place, (model, values) in enumerate(percentiles.items()):
        y = LINE * place + LINE / 2 + 4
        parts.append(f'<text x="0" y="{y + 4:.1f}">{escape(model)}</text>')
        for index, value in enumerate(values):
            x = LEFT + WIDTH * value / 100
            shift = (index * 7 % 11 - 5) * 1.2  # dots of one place beside each other
            parts.append(f'<circle class="dot {tone(value)}" cx="{x:.1f}" cy="{y + shift:.1f}" r="3.5"/>')
    parts.append(f'<text class="tick" x="{LEFT + WIDTH / 2}" y="{bottom + 31}">percentile</text></svg>')
    return "".join(parts)


def overview(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> str:
    """A column for each molecule, a row for each model: gray where there is no percentile."""
    shown = rows[:MOST_COLUMNS]
    if len(shown) < 2 or not models:
        return ""
    cell = max(3, min(20, WIDTH // len(shown)))
    parts = [
        f'<svg class="plot" width="{LEFT + cell * len(shown) + 10}" height="{LINE * len(models) + 24}" role="img" '
        'aria-label="percentiles, molecule by molecule">'
    ]
    for place, model in enumerate(models):
        y = LINE * place + 4
        parts.append(f'<text x="0" y="{y + 16}">{escape(model)}</text>')
        for column, row in enumerate(shown):
            known = {score["model"]: score.get("percentile") for score in row.get("scores", ())}
            value = known.get(model)
            kind = tone(value) if isinstance(value, int | float) else "none"
            said = f"{row['index']}: {number(value)}"
            parts.append(
                f'<rect class="cell {kind}" x="{LEFT + cell * column}" y="{y}" width="{cell - 1}" '
                f'height="{LINE - 6}"><title>{said}</title></rect>'
            )
    y = LINE * len(models) + 16
    parts.append(f'<text class="tick" x="{LEFT + cell / 2}" y="{y}">{shown[0]["index"]}</text>')
    last = LEFT + cell * (len(shown) - 0.5)
    parts.append(f'<text class="tick" x="{last:.1f}" y="{y}">{shown[-1]["index"]}</text></svg>')
    return "".join(parts)
