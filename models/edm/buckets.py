"""Cutting molecules into network calls: one size a call, and not more than fits the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Pairs of atoms in one network call: more would spill a core's cache on a CPU and win nothing.
PAIRS_PER_CALL = {"cpu": 4096, "cuda": 1 << 20}


def split_lanes(n_atoms: int, rows: list[int], device: torch.device) -> list[list[int]]:
    """Cut the molecules of one size into network calls of about equal length."""
    most = max(1, PAIRS_PER_CALL.get(device.type, 4096) // max(1, n_atoms * (n_atoms - 1) // 2))
    calls = -(-len(rows) // most)
    each = -(-len(rows) // max(calls, 1))
    return [rows[k : k + each] for k in range(0, len(rows), each)]


def size_buckets(
    numbers: Sequence[NDArray[np.integer]], positions: Sequence[NDArray[np.floating]], device: torch.device
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Molecules of equal size together: their rows, atomic numbers `[b, n]`, float64 positions `[b, n, 3]`."""
    for n in sorted({len(row) for row in numbers}):
        rows = [k for k, row in enumerate(numbers) if len(row) == n]
        for part in split_lanes(n, rows, device):
            z = np.stack([np.asarray(numbers[k], dtype=np.int64) for k in part])
            x = np.stack([np.asarray(positions[k], dtype=np.float64) for k in part])
            yield part, torch.from_numpy(z).to(device), torch.from_numpy(x).to(device)
