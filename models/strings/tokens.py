"""From strings to tokens and back: SMILES atom by atom, SELFIES symbol by symbol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from models.core.errors import EquimolError

Notation = Literal["smiles", "selfies"]
Code = Literal["unknown-token", "too-long", "too-short", "bad-token"]

_SMILES = re.compile(r"\[[^\[\]]*\]|Br|Cl|%\d\d|[^\s]")
_SELFIES = re.compile(r"\[[^\[\]]*\]|\.")


class TokenError(EquimolError, ValueError):
    """A string that a vocabulary cannot take; `code` is stable, `position` counts characters from zero."""

    def __init__(self, code: Code, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.code: Code = code
        self.position = position


def smiles_tokens(text: str) -> list[str]:
    """The tokens of a SMILES: bracket atoms, Br, Cl, %nn and single characters; joined they are the text again.

    Chemistry is not checked. Raises TokenError for white space and for a bracket that is not closed.

    >>> smiles_tokens("Clc1cc[nH]c1")
    ['Cl', 'c', '1', 'c', 'c', '[nH]', 'c', '1']
    """
    return _split(_SMILES, text)


def selfies_tokens(text: str) -> list[str]:
    """The symbols of a SELFIES string. Raises TokenError for anything between them.

    >>> selfies_tokens("[C][=O]")
    ['[C]', '[=O]']
    """
    return _split(_SELFIES, text)


TOKENIZERS: Mapping[Notation, Callable[[str], list[str]]] = {
    "smiles": smiles_tokens,
    "selfies": selfies_tokens,
}


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    for match in pattern.finditer(text):
        if match.start() != position:
            break
        tokens.append(match.group())
        position = match.end()
    if position != len(text):
        raise TokenError(
            "bad-token", f"{text[position : position + 10]!r} at {position} is no token", position
        )
    for place, token in enumerate(tokens):
        if token in ("[", "]"):
            at = sum(map(len, tokens[:place]))
            raise TokenError("bad-token", f"the bracket at {at} has no partner", at)
    return tokens


class Vocabulary:
    """An ordered set of tokens with the tokenizer that makes them; ids count from zero."""

    def __init__(self, tokens: Iterable[str], notation: Notation = "smiles") -> None:
        self.tokens = tuple(tokens)
        self.notation: Notation = notation
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens) or not self.tokens:
            raise TokenError("bad-token", "a vocabulary needs tokens, each once.")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, *, longest: int | None = None, extra: Mapping[str, int] = {}) -> list[int]:
        """The ids of a string; `extra` names ids beyond the vocabulary, such as a mask's.

        Raises TokenError: unknown-token and bad-token with the position, too-long, too-short for an empty string.
        """
        ids: list[int] = []
        position = 0
        for token in TOKENIZERS[self.notation](text):
            number = self.ids.get(token, extra.get(token))
            if number is None:
                raise TokenError(
                    "unknown-token",
                    f"token {token!r} at {position} does not occur in the training data; the model knows "
                    f"{' '.join(self.tokens)}",
                    position,
                )
            ids.append(number)
            position += len(token)
        if not ids:
            raise TokenError("too-short", "the string is empty")
        if longest is not None and len(ids) > longest:
            raise TokenError("too-long", f"the string has {len(ids)} tokens; the model knows up to {longest}")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The string of some ids."""
        return "".join(self.tokens[number] for number in ids)
