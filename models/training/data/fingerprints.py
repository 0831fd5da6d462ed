"""Fingerprints of QM9's molecules ("qm9-fingerprints"): MACCS keys and folded Morgan bits, kept once computed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from chemistry.datasets import Split, load_dataset, store
from chemistry.fingerprints import BITS, FINGERPRINTS, all_fingerprints
from models.training.data.buckets import SizeBuckets

FORMAT = 1
Bits = NDArray[np.uint8]


def load(name: str, split: Split) -> FingerprintData:
    """A split of the molecules that `name` says before "-fingerprints"; the first call takes some minutes.

    Raises DatasetError.
    """
    molecules = load_dataset(name.removesuffix("-fingerprints"), split)
    texts = list(molecules.smiles)
    path = store.cache_folder() / "fingerprints" / f"{molecules.content_hash[:16]}-{FORMAT}.npz"
    if not path.exists():
        with store.exclusive(path):
            if not path.exists():
                logging.getLogger(__name__).info("computing %d fingerprints", len(texts))
                bits, kept = all_fingerprints(texts)
                temporary = path.with_suffix(".tmp.npz")
                packed: dict[str, Any] = {kind: np.packbits(rows, axis=1) for kind, rows in bits.items()}
                np.savez_compressed(temporary, kept=kept, **packed)
                temporary.replace(path)
    with np.load(path, allow_pickle=False) as file:
        rows = {kind: np.unpackbits(file[kind], axis=1, count=BITS[kind]) for kind in FINGERPRINTS}
        kept = file["kept"]
    return FingerprintData({str(kind): x for kind, x in rows.items()}, [texts[k] for k in kept])


class FingerprintData:
    """Bits `[n, width]` of every kind, and the molecules' SMILES."""

    def __init__(self, bits: dict[str, Bits], smiles: list[str]) -> None:
        self.bits, self.smiles = bits, smiles

    @cached_property
    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for kind, rows in self.bits.items():
            digest.update(f"{kind} {rows.shape}\n".encode() + np.packbits(rows, axis=1).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.smiles)

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        """Batches with one tensor of bits `[b, width]` for each kind."""
        one_size = np.ones(len(self), np.int64)
        for rows in SizeBuckets(one_size, bucket, seed, start=start, process=process, processes=processes):
            bits = {kind: torch.from_numpy(x[rows]) for kind, x in self.bits.items()}
            yield Batch(num_nodes=len(rows), batch=torch.arange(len(rows)), **bits)

    def card(self) -> dict[str, Any]:
        return {"fingerprints": {kind: rows.shape[1] for kind, rows in self.bits.items()}}
