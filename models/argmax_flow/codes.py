"""Tokens as digits of a base, and digits as regions of a continuous space (Cartesian products, section 3 there).

With base 2 a digit is the sign of one number; with a larger base it is the largest of `base` numbers. K tokens need
ceil(log_base K) digits. A code that no token has is read as token `code mod K`: every continuous value is a string.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.errors import ConfigError


class Codes:
    """K tokens in a base. `size`: number of codes; `channels`: continuous numbers a token."""

    def __init__(self, tokens: int, base: int) -> None:
        if not 2 <= base <= max(tokens, 2) or tokens < 2:
            raise ConfigError(f"base is {base}, but must lie in 2..{max(tokens, 2)}, for 2 tokens or more.")
        self.tokens, self.base = tokens, base
        self.digits = 1
        while base**self.digits < tokens:
            self.digits += 1
        self.size = base**self.digits
        self.channels = self.digits * (1 if base == 2 else base)

    def digits_of(self, tokens: Tensor) -> Tensor:
        """Digits `[..., digits]` of token ids `[...]`, the highest first."""
        powers = self.base ** torch.arange(self.digits - 1, -1, -1, device=tokens.device)
        return tokens[..., None] // powers % self.base

    def code_of(self, v: Tensor) -> Tensor:
        """The code `[...]` whose region holds values `[..., channels]`."""
        if self.base == 2:
            digits = (v > 0).long()
        else:
            digits = v.reshape(*v.shape[:-1], self.digits, self.base).argmax(-1)
        powers = self.base ** torch.arange(self.digits - 1, -1, -1, device=v.device)
        return (digits * powers).sum(-1)

    def tokens_of(self, v: Tensor) -> Tensor:
        """The token ids `[...]` that values `[..., channels]` are read as."""
        return self.code_of(v) % self.tokens
