"""Entropy coding: symbols to bytes and back by probabilities that both sides know (package `constriction`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


class CodeError(ValueError):
    """Bytes that are no code."""


def shares(frequencies: Tensor) -> Floats:
    """Integers `[k, K]` to probabilities; one division each, so alike on every machine."""
    values: Floats = frequencies.numpy()
    found: Floats = values / values.sum(-1, keepdims=True)
    return found


def encode(parts: Sequence[tuple[NDArray[Any], Floats]]) -> bytes:
    """Symbols `[k]` by probabilities `[k, K]` or `[K]`, in the order in which they are to be decoded."""
    stream = _stream()
    coder = stream.stack.AnsCoder()
    for symbols, found in reversed(parts):
        if len(symbols):
            coder.encode_reverse(np.asarray(symbols, np.int32), *_family(found))
    code: bytes = coder.get_compressed().astype("<u4").tobytes()
    return code


class Decoder:
    """Symbols out of a code, in the order in which they were named to `encode`. Raises CodeError."""

    def __init__(self, code: bytes) -> None:
        if len(code) % 4:
            raise CodeError("a code is a whole number of words")
        try:
            self._coder = _stream().stack.AnsCoder(np.frombuffer(code, "<u4").astype(np.uint32))
        except ValueError as error:
            raise CodeError(str(error)) from error

    def take(self, found: Floats, count: int | None = None) -> NDArray[np.int64]:
        """One symbol for each row of `[k, K]`, or `count` by the same probabilities `[K]`."""
        family, *rows = _family(found)
        if len(found) == 0:
            return np.zeros(0, np.int64)
        symbols = self._coder.decode(family, *(rows or [count]))
        return np.asarray(symbols, np.int64)


def bits(symbols: NDArray[Any], found: Floats) -> float:
    """What symbols `[k]` cost by probabilities `[k, K]`."""
    return -float(np.log2(found[np.arange(len(symbols)), symbols]).sum())


def _family(found: Floats) -> tuple[Any, ...]:
    model = _stream().model
    if found.ndim == 1:
        return (model.Categorical(found, perfect=False),)
    return model.Categorical(perfect=False), found


def _stream() -> Any:
    import constriction

    return constriction.stream
