"""Real molecules kept beside the flow, to show which of them a fingerprint is nearest to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Neighbour(NamedTuple):
    """A real molecule and the Tanimoto similarity of its fingerprint."""

    smiles: str
    tanimoto: float


class Library(nn.Module):
    """SMILES and their packed fingerprints as buffers: `n` molecules, `text` bytes of SMILES, bits of each kind."""

    text: Tensor
    ends: Tensor

    def __init__(self, n: int, text: int, bits: Mapping[str, int]) -> None:
        super().__init__()
        self.bits = dict(bits)
        self.register_buffer("text", torch.zeros(text, dtype=torch.uint8))
        self.register_buffer("ends", torch.zeros(n, dtype=torch.int32))
        for kind, width in bits.items():
            self.register_buffer(kind, torch.zeros(n, -(-width // 8), dtype=torch.uint8))

    @classmethod
    def of(cls, smiles: Sequence[str], rows: Mapping[str, NDArray[np.uint8]]) -> Library:
        """From SMILES and the bits `[n, width]` of each kind."""
        encoded = [text.encode() for text in smiles]
        made = cls(len(encoded), sum(map(len, encoded)), {kind: x.shape[1] for kind, x in rows.items()})
        made.text.copy_(torch.from_numpy(np.frombuffer(b"".join(encoded), np.uint8).copy()))
        made.ends.copy_(torch.tensor(np.cumsum([len(text) for text in encoded]), dtype=torch.int32))
        for kind, x in rows.items():
            made.get_buffer(kind).copy_(torch.from_numpy(np.packbits(x, axis=1)))
        return made

    @property
    def config(self) -> dict[str, int]:
        """The shapes that the weights file has."""
        return {"molecules": len(self.ends), "text": len(self.text)}

    def smiles(self, index: int) -> str:
        """The SMILES of one molecule."""
        start = int(self.ends[index - 1]) if index else 0
        return bytes(self.text[start : int(self.ends[index])].tolist()).decode()

    def nearest(self, kind: str, bits: NDArray[np.uint8], count: int) -> list[Neighbour]:
        """The `count` molecules most like a fingerprint `[width]`, the most alike first."""
        if not count:
            return []
        packed = self.get_buffer(kind).numpy()
        own = np.packbits(bits)
        both = np.bitwise_count(packed & own).sum(1, dtype=np.int64)
        either = np.bitwise_count(packed | own).sum(1, dtype=np.int64)
        alike = np.where(either > 0, both / np.maximum(either, 1), 1.0)
        best = np.argsort(-alike, kind="stable")[:count]
        return [Neighbour(self.smiles(int(k)), float(alike[k])) for k in best]
