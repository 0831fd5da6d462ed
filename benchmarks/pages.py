"""Figures of a benchmark kept as JSON, and their table in a page of the docs.

A page says where its table stands by `<!-- NAME -->` before it and `<!-- end of NAME -->` after it. Figures are kept
by group (a model, as a rule), so that one group can be measured again without the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def kept(name: str, group: str, figures: dict[str, Any]) -> dict[str, Any]:
    """All groups of `docs/figures/NAME.json` after `figures` took the place of `group` in it, in order of name."""
    path = DOCS / "figures" / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    after = dict(sorted({**before, group: figures}.items()))
    path.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")
    return after


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def put(page: str, name: str, table: str) -> None:
    """Replace the table NAME of `docs/PAGE.md`. Raises ValueError when the page has no place for it."""
    path = DOCS / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if text.count(first) != 1 or text.count(last) != 1:
        raise ValueError(f"{path} has no single pair of {first.strip()} and {last.strip()}; add them.")
    before, rest = text.split(first)
    path.write_text(f"{before}{first}\n{table}\n{last}{rest.split(last)[1]}", encoding="utf-8")
