"""Strings with gaps: "?" is one unknown token, "{2}" two of them, "{2-6}" two to six."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Self

import torch

from models.strings.lengths import Lengths
from models.strings.tokens import TokenError, Vocabulary

_GAP = re.compile(r"\{(\d{1,3})(?:-(\d{1,3}))?\}|\?")
MOST_CHOICES = 20_000
"""Combinations of gap lengths that a template may have."""


@dataclass(frozen=True)
class Filled:
    """A template with its gap lengths chosen: tokens (0 where unknown), and which are fixed."""

    tokens: tuple[int, ...]
    fixed: tuple[bool, ...]


@dataclass(frozen=True)
class Template:
    """Fixed runs of tokens with gaps between them: `runs` has one part more than `gaps`."""

    runs: tuple[tuple[int, ...], ...]
    gaps: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary, longest: int) -> Self:
        """Raises TokenError for unknown tokens, a template without a gap, and one that is longer than the model."""
        runs: list[tuple[int, ...]] = []
        gaps: list[tuple[int, int]] = []
        place = 0
        for match in _GAP.finditer(text):
            runs.append(_run(text[place : match.start()], place, vocabulary))
            least = 1 if match.group() == "?" else int(match.group(1))
            most = int(match.group(2)) if match.group(2) else least
            if least > most:
                raise TokenError(
                    "bad-token", f"the gap {match.group()} has its larger number first", match.start()
                )
            gaps.append((least, most))
            place = match.end()
        if not gaps:
            raise TokenError("bad-token", "the template has no gap; write ? for one token or {2-6} for some")
        runs.append(_run(text[place:], place, vocabulary))
        found = cls(tuple(runs), tuple(gaps))
        if found.shortest > longest:
            raise TokenError(
                "too-long",
                f"the template has {found.shortest} tokens or more; the model knows up to {longest}",
            )
        if math.prod(high - low + 1 for low, high in gaps) > MOST_CHOICES:
            raise TokenError(
                "too-long", f"the gaps can be chosen in more than {MOST_CHOICES} ways; narrow them"
            )
        return found

    @property
    def shortest(self) -> int:
        """Tokens with every gap at its least."""
        return sum(map(len, self.runs)) + sum(low for low, _ in self.gaps)

    def fill(self, lengths: Lengths, generator: torch.Generator) -> Filled:
        """Gap lengths drawn in proportion to the model's p(n) of the whole string."""
        fixed = sum(map(len, self.runs))
        choices = list(itertools.product(*(range(low, high + 1) for low, high in self.gaps)))
        logs = torch.tensor([lengths.log_prob(fixed + sum(c)) for c in choices], dtype=torch.float64)
        edges = (logs - logs.max()).exp().cumsum(0)
        uniform = torch.rand((), generator=generator, dtype=torch.float64) * edges[-1]
        chosen = choices[min(int(torch.searchsorted(edges, uniform, right=True)), len(choices) - 1)]
        tokens = list(self.runs[0])
        known = [True] * len(tokens)
        for gap, run in zip(chosen, self.runs[1:], strict=True):
            tokens += [0] * gap + list(run)
            known += [False] * gap + [True] * len(run)
        return Filled(tuple(tokens), tuple(known))


def _run(text: str, place: int, vocabulary: Vocabulary) -> tuple[int, ...]:
    if not text:
        return ()
    try:
        return tuple(vocabulary.encode(text))
    except TokenError as error:
        at = None if error.position is None else error.position + place
        raise TokenError(error.code, str(error), at) from error
