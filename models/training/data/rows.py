"""Rows of descriptors, and count fingerprints ("qm9-descriptors", "qm9-counts")."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chemistry.datasets import Split
from chemistry.datasets.descriptors import DescriptorTable, load_descriptors
from chemistry.descriptors import DESCRIPTORS
from models.training.data.buckets import SizeBuckets


@dataclass(frozen=True)
class RowBatch:
    """A batch of rows `[b, columns]` with what belongs to them."""

    rows: Tensor

    @property
    def num_graphs(self) -> int:
        """Rows in the batch, by the name that the training loop knows."""
        return len(self.rows)

    def to(self, device: torch.device) -> RowBatch:
        """The same on another device."""
        return replace(self, rows=self.rows.to(device))


def load(name: str, split: Split) -> RowData:
    """A split of a set of molecules as rows; `name` is its name and "-descriptors" or "-counts".

    Raises DatasetError.
    """
    source, _, kind = name.rpartition("-")
    return RowData(load_descriptors(source, split), counts=kind == "counts")


class RowData:
    """Rows for the training loop: descriptors, or numeric descriptors with a count fingerprint."""

    def __init__(self, table: DescriptorTable, *, counts: bool = False) -> None:
        self.table, self.counts = table, counts

    @cached_property
    def rows(self) -> Tensor:
        """All rows, float32 `[n, columns]`."""
        if not self.counts:
            return torch.from_numpy(self.table.rows.astype(np.float32))
        numeric = [k for k, descriptor in enumerate(DESCRIPTORS) if descriptor.kind != "category"]
        values = np.concatenate([self.table.rows[:, numeric], self.table.counts], 1)
        return torch.from_numpy(values.astype(np.float32))

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[RowBatch]:
        """Endless batches in an order that only the seed decides."""
        sizes = np.ones(len(self), dtype=np.int64)
        for rows in SizeBuckets(sizes, bucket, seed, start=start, process=process, processes=processes):
            yield RowBatch(self.rows[rows])

    def columns(self) -> list[dict[str, Any]]:
        """What a model must know of the columns: kinds, ranges, and the moments of their latent numbers."""
        return [_column(k, self.table.rows[:, k]) for k in range(len(DESCRIPTORS))]

    def names(self) -> list[str]:
        """The columns of the rows."""
        names = [descriptor.name for descriptor in DESCRIPTORS if descriptor.kind != "category"]
        if not self.counts:
            return [descriptor.name for descriptor in DESCRIPTORS]
        return [*names, *[f"environment_{k}" for k in range(self.table.counts.shape[1])]]

    def widths(self) -> Tensor:
        """The cell of each column: the resolution of a continuous one, 1 of a count."""
        wanted = [d.resolution for d in DESCRIPTORS if d.kind != "category" or not self.counts]
        return torch.tensor(wanted + [1.0] * (len(self.names()) - len(wanted)))

    def card(self) -> dict[str, Any]:
        return {}


def _column(k: int, values: np.ndarray) -> dict[str, Any]:
    descriptor = DESCRIPTORS[k]
    latent = values
    if descriptor.kind == "count":
        spread = values + np.random.default_rng(k).uniform(1e-4, 1, len(values))
        latent = spread + np.log(-np.expm1(-spread))  # as the model's own layer does it
    out: dict[str, Any] = {
        "name": descriptor.name, "kind": descriptor.kind, "unit": descriptor.unit, "meaning": descriptor.meaning,
        "low": float(values.min()), "high": float(values.max()), "resolution": descriptor.resolution,
    }  # fmt: skip
    if descriptor.kind == "category":
        return out | {"categories": list(descriptor.categories)}
    scale = max(float(latent.std()), descriptor.resolution if descriptor.kind == "continuous" else 0.1)
    return out | {"mean": float(latent.mean()), "scale": scale}
