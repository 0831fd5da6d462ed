"""Strings one token away, how far two strings are apart, and what is plainly wrong with a SMILES as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

Ids = tuple[int, ...]


def single_edits(tokens: Ids, classes: int) -> Iterator[Ids]:
    """Every string at edit distance 1: substitutions, deletions, insertions; each once."""
    seen: set[Ids] = {tokens}
    for edited in _edits(tokens, classes):
        if edited not in seen:
            seen.add(edited)
            yield edited


def _edits(tokens: Ids, classes: int) -> Iterator[Ids]:
    n = len(tokens)
    for place in range(n):
        head, tail = tokens[:place], tokens[place + 1 :]
        if n > 1:
            yield head + tail
        for token in range(classes):
            yield (*head, token, *tail)
    for place in range(n + 1):
        for token in range(classes):
            yield (*tokens[:place], token, *tokens[place:])


def swaps(tokens: Ids) -> Iterator[Ids]:
    """Strings with two neighboring tokens exchanged."""
    for place in range(len(tokens) - 1):
        a, b = tokens[place : place + 2]
        if a != b:
            yield (*tokens[:place], b, a, *tokens[place + 2 :])


def distance(one: Sequence[object], other: Sequence[object]) -> int:
    """Edit distance (substitutions, deletions, insertions of one token each).

    >>> distance("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def faults(tokens: Sequence[str]) -> int:
    """Tokens that are plainly wrong: brackets without a partner, empty branches, odd ring digits, bonds to nothing.

    A SMILES without faults can still be no molecule; one with faults never is.

    >>> faults(["C", "(", "C", "1", "C"])
    2
    """
    found = depth = 0
    rings: Counter[str] = Counter()
    before = "("
    for token in tokens:
        bond = before in "=#-/\\:" and len(before) == 1
        if token == "(":
            depth += 1
            found += before == "(" or bond
        elif token == ")":
            found += depth == 0 or before == "(" or bond
            depth = max(depth - 1, 0)
        elif token in ("=", "#", "-", "/", "\\", ":"):
            found += bond
        elif token[0].isdigit() or token[0] == "%":
            rings[token] += 1
            found += before == "("
        before = token
    found += depth + sum(count % 2 for count in rings.values())
    return found + (before in ("=", "#", "-", "/", "\\", ":"))


def drop_unmatched(tokens: Sequence[str]) -> list[str]:
    """The plain repair: leave out brackets and ring digits without a partner, and empty branches."""
    keep = [True] * len(tokens)
    opened: list[int] = []
    rings: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token == "(":
            opened.append(place)
        elif token == ")":
            if opened:
                opened.pop()
            else:
                keep[place] = False
        elif token[0].isdigit() or token[0] == "%":
            if token in rings:
                del rings[token]
            else:
                rings[token] = place
    for place in (*opened, *rings.values()):
        keep[place] = False
    kept = [token for token, stays in zip(tokens, keep, strict=True) if stays]
    while True:
        empty = next((k for k in range(len(kept) - 1) if kept[k] == "(" and kept[k + 1] == ")"), None)
        if empty is None:
            return kept
        del kept[empty : empty + 2]
