"""Depth upscaling (arXiv 2110.02037, section 3.2): what a token is, told in stages from coarse to fine.

A place shows the set of tokens that it may still become. Hidden, that is every token; each stage narrows the set,
and after the last it is one token. Only the sets differ between hierarchies: without one, there is a single stage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError

_BRACKET = re.compile(r"\[\d*(se|as|te|[bcnops]|[A-Z][a-z]?)")
BONDS = frozenset("-=#$:/\\~")


def element(token: str) -> str:
    """A token without isotope, stereo, hydrogens and charge; in lower case where it is aromatic.

    >>> [element(token) for token in ("[nH]", "[13C@@H]", "[Cl-]", "Br", "=")]
    ['n', 'C', 'Cl', 'Br', '=']
    """
    match = _BRACKET.match(token)
    return match.group(1) if match else token


def kind(token: str) -> str:
    """atom, aromatic atom, bond or ring; parentheses and the dot are kinds of their own.

    >>> [kind(token) for token in ("[nH]", "Br", "=", "%12", "(")]
    ['aromatic atom', 'atom', 'bond', 'ring', '(']
    """
    if token in ("(", ")", "."):
        return token
    if token in BONDS:
        return "bond"
    if token[0].isdigit() or token[0] == "%":
        return "ring"
    return "aromatic atom" if element(token)[0].islower() else "atom"


LEVELS: Mapping[str, tuple[Callable[[str], str], ...]] = {"none": (), "chemical": (kind, element)}
"""What is told of a token before the token itself; levels that tell nothing new are left out."""


class Hierarchy(nn.Module):
    """The stages of a vocabulary of K tokens. Symbol k below K is token k, K is hidden, others are sets between.

    shown `[stages + 1, K]`: the symbol of every token after each number of stages. members `[symbols, K]`: which
    tokens a symbol stands for.
    """

    shown: Tensor
    members: Tensor

    def __init__(self, tokens: Sequence[str], name: str = "none") -> None:
        super().__init__()
        if name not in LEVELS:
            raise ConfigError(f"hierarchy is {name!r}; choose one of {', '.join(LEVELS)}.")
        every = frozenset(range(len(tokens)))
        symbols: dict[frozenset[int], int] = {frozenset([k]): k for k in every} | {every: len(tokens)}
        rows = [[len(tokens)] * len(tokens)]
        labels: list[tuple[str, ...]] = [()] * len(tokens)
        for level in LEVELS[name]:
            labels = [(*label, level(token)) for label, token in zip(labels, tokens, strict=True)]
            sets = [frozenset(k for k in every if labels[k] == label) for label in labels]
            row = [symbols.setdefault(members, len(symbols)) for members in sets]
            if row != rows[-1]:
                rows.append(row)
        if rows[-1] != list(range(len(tokens))):
            rows.append(list(range(len(tokens))))
        members = torch.zeros(len(tokens) + 1 + len(symbols), len(tokens), dtype=torch.bool)
        for row in rows:
            for token, symbol in enumerate(row):
                members[symbol, token] = True
        members = members[: max(map(max, rows)) + 1]
        self.register_buffer("shown", torch.tensor(rows), persistent=False)
        self.register_buffer("members", members, persistent=False)

    @property
    def stages(self) -> int:
        """How often a place is told more; 1 without levels."""
        return len(self.shown) - 1

    @property
    def symbols(self) -> int:
        """What a place may show."""
        return len(self.members)

    def at(self, tokens: Tensor, stage: Tensor | int) -> Tensor:
        """What tokens `[b, n]` show after so many stages, one number or `[b]`."""
        rows = self.shown[torch.as_tensor(stage, device=self.shown.device).expand(len(tokens))]
        return rows.gather(1, tokens)

    def narrows(self, symbols: Tensor, stage: int) -> Tensor:
        """Which places `[...]` the stage after `stage` tells more of."""
        moved = self.shown[stage] != self.shown[stage + 1]
        changing = torch.zeros(self.symbols, dtype=torch.bool, device=symbols.device)
        changing[self.shown[stage][moved]] = True
        return changing[symbols]
