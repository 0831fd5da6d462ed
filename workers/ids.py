"""Job ids: 26 characters, sortable by time, safe in URLs and paths."""

from __future__ import annotations

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PATTERN = re.compile(rf"[0-7][{_ALPHABET}]{{25}}")


def new_id(milliseconds: int | None = None) -> str:
    """A fresh id: 48 bits of Unix time in milliseconds, then 80 random bits."""
    now = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    value = (now << 80) | secrets.randbits(80)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether the text has the form of a job id; anything else never reaches a path or a key."""
    return _PATTERN.fullmatch(text) is not None


def id_milliseconds(identifier: str) -> int:
    """The time of creation inside an id, in milliseconds since 1970."""
    value = 0
    for character in identifier[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return value
