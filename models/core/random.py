"""Random numbers that depend on a molecule's own seed and on nothing else.

Molecule i of job seed s must come out the same alone, in any batch and on any worker. So each molecule owns
a CPU generator derived from (s, i), and noise is drawn per molecule and then stacked, never per batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def molecule_seed(job_seed: int, index: int) -> int:
    """Seed of molecule `index` of a job: 63 bits, from a hash of both numbers.

    >>> molecule_seed(7, 0) != molecule_seed(7, 1)
    True
    """
    return purpose_seed(job_seed, str(index))


def purpose_seed(seed: int, purpose: str) -> int:
    """Seed of one purpose of `seed`: 63 bits, so that streams never overlap."""
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8, person=b"equimol").digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str = "") -> torch.Generator:
    """A CPU generator for one purpose of one molecule."""
    return torch.Generator().manual_seed(purpose_seed(seed, purpose))


def stratified(n: int, source: torch.Generator) -> Tensor:
    """One uniform number in each of the n equal parts of 0..1, in order, where `source` lives."""
    return (torch.arange(n, device=source.device) + torch.rand(n, generator=source, device=source.device)) / n


def stacked_normal(
    generators: Sequence[torch.Generator], shape: Sequence[int], *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Standard normal numbers, one draw of `shape` per generator: `[len(generators), *shape]` on the CPU."""
    out = torch.empty(len(generators), *shape, dtype=dtype)
    for row, source in zip(out, generators, strict=True):
        row.normal_(generator=source)
    return out
