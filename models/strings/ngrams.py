"""n-grams of tokens with Witten-Bell interpolation: what every density of strings has to beat.

A string ends with its own token, so that the density is over whole strings, like the models' p(n) p(x | n).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.core.errors import ConfigError

Ids = NDArray[np.int64]


class NGrams:
    """Tables of counts of all orders up to `order`; dense, so meant for small vocabularies."""

    def __init__(self, ids: NDArray[np.uint8], offsets: Ids, size: int, order: int) -> None:
        """ids and offsets: the strings end to end; size: tokens of the vocabulary."""
        if order < 1 or (size + 1) ** order > 2**27:
            raise ConfigError(f"{order}-grams of {size} tokens do not fit into a dense table.")
        self.size, self.order = size, order
        stream, first = self._stream(ids, offsets)
        self.counts: list[NDArray[np.int64]] = []
        for k in range(1, order + 1):
            codes = self._codes(stream, k)[first]
            self.counts.append(np.bincount(codes, minlength=(size + 1) ** k).reshape(-1, size + 1))

    def _stream(self, ids: NDArray[np.uint8], offsets: Ids) -> tuple[Ids, NDArray[np.bool_]]:
        """All strings, each after order - 1 starts and before an end (both are the id `size`), and which entries are
        to be predicted.
        """
        pad, lengths = max(self.order - 1, 1), np.diff(offsets)
        starts = np.concatenate([[0], np.cumsum(lengths + pad + 1)])
        stream = np.full(int(starts[-1]), self.size, np.int64)
        places = np.repeat(starts[:-1] + pad - offsets[:-1], lengths) + np.arange(len(ids))
        stream[places] = ids
        wanted = np.zeros(len(stream), bool)
        wanted[places] = True
        wanted[starts[1:] - 1] = True
        return stream, wanted

    def _codes(self, stream: Ids, k: int) -> Ids:
        """Entry i and the k - 1 before it as one number."""
        codes = stream.copy()
        for back in range(1, k):
            codes[back:] += stream[:-back] * (self.size + 1) ** back
        return codes

    def log_prob(self, strings: Sequence[Sequence[int]], order: int | None = None) -> NDArray[np.float64]:
        """log p(x) in nats of every string, by n-grams of `order` or of the highest."""
        order = order or self.order
        if not 1 <= order <= self.order:
            raise ConfigError(f"order {order} was not counted; there are 1 to {self.order}.")
        offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in strings])]).astype(np.int64)
        ids = np.array([token for string in strings for token in string], np.uint8)
        stream, wanted = self._stream(ids, offsets)
        p = np.full(int(wanted.sum()), 1 / (self.size + 1))
        for k in range(1, order + 1):
            codes = self._codes(stream, k)[wanted]
            context, token = np.divmod(codes, self.size + 1)
            table = self.counts[k - 1][context]
            seen, kinds = table.sum(1), (table > 0).sum(1)
            known = seen > 0
            above = table[np.arange(len(token)), token] + kinds * p
            p = np.where(known, above / np.maximum(seen + kinds, 1), p)
        ends = np.cumsum([len(string) + 1 for string in strings])
        return np.diff(np.concatenate([[0.0], np.cumsum(np.log(p))])[np.concatenate([[0], ends])])
