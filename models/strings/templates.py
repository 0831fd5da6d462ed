"""Strings with gaps: "?" is one unknown token, "{2-6}" two to six, "*" as many as the request allows.

"[*]" and "[*:1]", as chemists write attachment points, are "*" too. No torch: the API reads templates at its door.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from models.strings.tokens import TokenError, Vocabulary

if TYPE_CHECKING:
    from models.strings.lengths import Lengths

_GAP = re.compile(r"\{(\d{1,3})(?:-(\d{1,3}))?\}|\?|\[\d*\*(?::\d+)?\]|\*")
Range = tuple[int, int]


@dataclass(frozen=True)
class Opened:
    """A template with its gap lengths chosen: tokens (0 where unknown), and the places of every gap."""

    tokens: tuple[int, ...]
    gaps: tuple[range, ...]

    @property
    def hidden(self) -> tuple[bool, ...]:
        """Which places are unknown."""
        unknown = {place for gap in self.gaps for place in gap}
        return tuple(place in unknown for place in range(len(self.tokens)))

    def masked(self, mask: int) -> list[int]:
        """The tokens with `mask` at the unknown places."""
        return [mask if out else token for token, out in zip(self.tokens, self.hidden, strict=True)]


@dataclass(frozen=True)
class Template:
    """Fixed runs of tokens with gaps between them: `runs` has one part more than `gaps`."""

    runs: tuple[tuple[int, ...], ...]
    gaps: tuple[Range, ...]

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary, longest: int, star: Range = (1, 20)) -> Self:
        """star: the range of "*". Raises TokenError for unknown tokens, a range with its larger number first, a
        template without a gap, and one that is longer than the model with every gap at its least.
        """
        runs: list[tuple[int, ...]] = []
        gaps: list[Range] = []
        place = 0
        for match in _GAP.finditer(text):
            runs.append(_run(text[place : match.start()], place, vocabulary))
            gaps.append(_range(match, star))
            place = match.end()
        if not gaps:
            detail = (
                "nothing is unknown: write ? for one token, {2-6} for two to six, * for a gap of gap_tokens"
            )
            raise TokenError("bad-token", detail)
        runs.append(_run(text[place:], place, vocabulary))
        found = cls(tuple(runs), tuple(gaps))
        if found.shortest > longest:
            detail = f"the template has {found.shortest} tokens or more; the model knows up to {longest}"
            raise TokenError("too-long", detail)
        if found.longest < 1:
            raise TokenError("too-short", "the template leaves room for no token at all")
        return found

    @property
    def shortest(self) -> int:
        """Tokens with every gap at its least."""
        return sum(map(len, self.runs)) + sum(low for low, _ in self.gaps)

    @property
    def longest(self) -> int:
        """Tokens with every gap at its most."""
        return sum(map(len, self.runs)) + sum(high for _, high in self.gaps)

    def open(self, lengths: Lengths, seed: int) -> Opened:
        """Gap lengths drawn: the whole length from p(n) within reach, then all divisions among the gaps alike likely.

        Raises ConfigError when p(n) knows no length within reach.
        """
        import torch  # heavy, and the API only parses

        from models.core.random import generator

        (n,) = lengths.draw([seed], self.shortest, self.longest)
        uniform = torch.rand(len(self.gaps), generator=generator(seed, "gaps"), dtype=torch.float64).tolist()
        chosen = divided(n - self.shortest, [high - low for low, high in self.gaps], uniform)
        tokens = list(self.runs[0])
        gaps = []
        for (low, _), more, run in zip(self.gaps, chosen, self.runs[1:], strict=True):
            gaps.append(range(len(tokens), len(tokens) + low + more))
            tokens += [0] * (low + more) + list(run)
        return Opened(tuple(tokens), tuple(gaps))


def divided(total: int, rooms: Sequence[int], uniform: Sequence[float]) -> list[int]:
    """`total` shared out among gaps with so much room each, all divisions alike likely, by one uniform number a gap.

    >>> divided(3, [1, 5], [0.9, 0.0])
    [1, 2]
    """
    ways = [[1] + [0] * total]  # ways[k][r]: how many ways there are to share r among the last k gaps
    for room in reversed(rooms):
        ways.append([sum(ways[-1][r - x] for x in range(min(room, r) + 1)) for r in range(total + 1)])
    out = []
    for k, (room, u) in enumerate(zip(rooms, uniform, strict=True), 1):
        options = [ways[len(rooms) - k][total - x] for x in range(min(room, total) + 1)]
        edge, x = u * sum(options), 0
        while edge >= options[x] and x + 1 < len(options):
            edge -= options[x]
            x += 1
        out.append(x)
        total -= x
    return out


def _range(match: re.Match[str], star: Range) -> Range:
    """The least and the most tokens of a gap."""
    if match.group() == "?":
        return 1, 1
    if not match.group(1):
        return star
    low, high = int(match.group(1)), int(match.group(2) or match.group(1))
    if low > high:
        raise TokenError("bad-token", f"the gap {match.group()} has its larger number first", match.start())
    return low, high


def _run(text: str, place: int, vocabulary: Vocabulary) -> tuple[int, ...]:
    if not text:
        return ()
    try:
        return tuple(vocabulary.encode(text))
    except TokenError as error:
        at = None if error.position is None else error.position + place
        raise TokenError(error.code, str(error), at) from error
