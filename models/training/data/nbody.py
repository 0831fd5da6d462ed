"""Trajectories of charged particles from our own simulator ("nbody"): simulated once by seed, then cached."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from chemistry.datasets import Split, store
from models.egnn_nbody.simulator import HORIZON, START, advance, draw
from models.training.data.buckets import SizeBuckets

COUNTS: dict[Split, int] = {"train": 3000, "valid": 2000, "test": 2000}
PARTICLES = 5
SEED = 43


def load(name: str, split: Split) -> ParticleData:  # noqa: ARG001 - there is but one experiment
    """A split of the published size; the three have generators of their own."""
    path = store.cache_folder() / "simulated" / f"nbody-{PARTICLES}-{SEED}-{split}-1.npy"
    if not path.exists():
        with store.exclusive(path):
            if not path.exists():
                write(path, simulate(COUNTS[split], list(COUNTS).index(split)))
    return ParticleData(np.load(path, allow_pickle=False))


def simulate(count: int, stream: int) -> NDArray[np.float64]:
    """Position, velocity, charge and position after the horizon of every particle: `[count, particles, 10]`."""
    source = np.random.default_rng([SEED, stream])
    start = advance(draw(count, source, PARTICLES), START)
    end = advance(start, HORIZON)
    return np.concatenate([start.positions, start.velocities, start.charges[..., None], end.positions], -1)


def write(path: Path, values: NDArray[np.float64]) -> None:
    """Write by rename, so that a reader sees all or nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npy")
    with os.fdopen(descriptor, "wb") as file:
        np.save(file, values, allow_pickle=False)
    Path(temporary).replace(path)


class ParticleData:
    """Systems of equally many particles; `values` `[systems, particles, 10]` as `simulate` gives them."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.values, dtype="<f8").tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.values)

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        sizes = np.full(len(self), self.values.shape[1])
        for rows in SizeBuckets(sizes, bucket, seed, start=start, process=process, processes=processes):
            yield self.batch(rows)

    def batch(self, rows: list[int] | slice) -> Any:
        """Systems `rows` as a torch-geometric Batch with `pos`, `vel`, `charge` and `target`."""
        chosen = torch.from_numpy(self.values[rows]).float()
        b, n, _ = chosen.shape
        x, v, charge, target = torch.split(chosen.reshape(b * n, 10), [3, 3, 1, 3], -1)
        return Batch(
            pos=x, vel=v, charge=charge, target=target,
            batch=torch.arange(b).repeat_interleave(n), ptr=torch.arange(b + 1) * n,
        )  # fmt: skip

    def experiment(self) -> dict[str, Any]:
        """What the model's configuration says of the experiment, and the best straight line x + t v."""
        x, v, target = self.values[..., :3], self.values[..., 3:6], self.values[..., 7:]
        return {
            "horizon": HORIZON,
            "particles": self.values.shape[1],
            "linear_time": float((v * (target - x)).sum() / np.square(v).sum()),
            "speed": float(np.quantile(np.linalg.norm(v, axis=-1), 0.999)),
            "spread": float(np.quantile(np.linalg.norm(x - x.mean(1, keepdims=True), axis=-1), 0.999)),
        }

    def card(self) -> dict[str, Any]:
        return {"particles": self.values.shape[1], "horizon": HORIZON}
