"""Repair: valid strings near a broken one, ranked by how likely they are and how few edits they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.core.likelihood import Likelihood
from models.multinomial.bound import quick_scores, score
from models.multinomial.model import MultinomialDiffusion
from models.strings.edits import Ids, distance, faults, single_edits, swaps
from models.strings.tokens import Vocabulary

Judge = Callable[[Sequence[str]], list[bool]]
Ranker = Callable[[Sequence[Ids], int], list[float]]
"""Scores of strings, higher is better; the number says how much work each may take (1 a little, 2 more)."""


@dataclass(frozen=True)
class Effort:
    """How far a repair looks: edits, broken strings that are edited further, candidates that are ranked well."""

    edits: int = 2
    beam: int = 8
    glances: int = 240
    shortlist: int = 24


@dataclass(frozen=True)
class Repair:
    """A valid string: its tokens, its edit distance from the broken one, and its rank score.

    score = log p(string) - edits log(number of single edits): every edit of the damage is thought equally likely.
    """

    tokens: Ids
    text: str
    edits: int
    score: float
    likelihood: Likelihood | None = field(default=None, compare=False)


def candidates(
    broken: Ids, vocabulary: Vocabulary, longest: int, judge: Judge, rank: Ranker, effort: Effort
) -> list[Repair]:
    """Valid strings at the least number of edits that has any, best first, at most `shortlist`.

    Swapped neighbors are tried beside single edits. A beam of broken strings with fewer faults goes on.
    """
    classes = len(vocabulary)
    cost = math.log((2 * len(broken) + 1) * classes)

    def made(strings: Sequence[Ids]) -> list[Repair]:
        """Ranked with care after a first glance at all."""
        chosen = _best(strings, rank(strings, 1), effort.shortlist)
        scores = rank(chosen, 2)
        out = []
        for tokens, value in zip(chosen, scores, strict=True):
            edits = distance(broken, tokens)
            out.append(Repair(tokens, vocabulary.decode(tokens), edits, value - cost * edits))
        return sorted(out, key=lambda one: -one.score)

    frontier: list[Ids] = [broken]
    seen: set[Ids] = set()
    if judge([vocabulary.decode(broken)])[0]:
        return made([broken])
    for depth in range(1, effort.edits + 1):
        fresh: list[Ids] = []
        for tokens in frontier:
            steps = [*single_edits(tokens, classes), *(swaps(tokens) if depth == 1 else ())]
            for edited in steps:
                if edited not in seen and len(edited) <= longest:
                    seen.add(edited)
                    fresh.append(edited)
        wrong = [faults([vocabulary.tokens[k] for k in tokens]) for tokens in fresh]
        sound = [tokens for tokens, count in zip(fresh, wrong, strict=True) if not count]
        valid = [
            tokens
            for tokens, good in zip(
                sound, judge([vocabulary.decode(tokens) for tokens in sound]), strict=True
            )
            if good
        ]
        if valid:
            return made(_thinned(valid, effort.glances))
        least = min(wrong, default=0)
        nearer = [tokens for tokens, count in zip(fresh, wrong, strict=True) if count == least]
        nearer = _thinned(nearer, effort.glances)
        frontier = _best(nearer, rank(nearer, 1), effort.beam)
    return []


def _best(strings: Sequence[Ids], scores: Sequence[float], count: int) -> list[Ids]:
    order = sorted(range(len(strings)), key=lambda k: (-scores[k], strings[k]))
    return [strings[k] for k in order[:count]]


def _thinned(strings: Sequence[Ids], count: int) -> list[Ids]:
    """At most `count` of them, evenly spread."""
    if len(strings) <= count:
        return list(strings)
    return [strings[int(k * len(strings) / count)] for k in range(count)]


def diffusion_ranker(model: MultinomialDiffusion, seed: int) -> Ranker:
    """Rough bounds at 3 or at 12 times."""
    return lambda strings, care: quick_scores(model, strings, seed, 3 if care == 1 else 12)


def repair(
    model: MultinomialDiffusion,
    broken: Ids,
    judge: Judge,
    seed: int,
    *,
    count: int = 5,
    draws: int = 1,
    effort: Effort = Effort(),
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Repair]:
    """The best `count` repairs, their order settled by the full bound. Raises InterruptedError."""
    rank = diffusion_ranker(model, seed)
    found = candidates(broken, model.vocabulary, model.longest, judge, rank, effort)
    cost = math.log((2 * len(broken) + 1) * len(model.vocabulary))
    out = []
    for one in found[:count]:
        likelihood = score(model, one.tokens, seed, draws, cancelled=cancelled).likelihood
        out.append(Repair(one.tokens, one.text, one.edits, likelihood.value - cost * one.edits, likelihood))
    return sorted(out, key=lambda one: -one.score)
