"""The particle systems "dw4" and "lj13": train, validation and test sets drawn by long Markov chains of our own.

The sets are functions of the system's name and the split only, kept in the cache folder once they are made. The same
build of torch on the same kind of processor makes them bit for bit; elsewhere rounding, which chains amplify, gives
other sets of the same distribution, and the content hash says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from chemistry.datasets import Split
from chemistry.datasets.molecules import SPLITS
from chemistry.datasets.store import cache_folder, exclusive
from chemistry.errors import DatasetError
from models.core.random import generator
from models.enf_particles.chains import Chains, Record, record, relaxed
from models.enf_particles.convergence import effective_sample_size, split_r_hat
from models.enf_particles.leaps import Leaps
from models.enf_particles.potentials import SYSTEMS, system
from models.training.data.buckets import SizeBuckets

FORMAT = 1
HELD_OUT = 10_000
"""Configurations in the validation set and in the test set."""


@dataclass(frozen=True)
class ChainOptions:
    """How the chains of a system run: trajectories of `leapfrog` steps, `leaps` long jumps after each, `thin`
    sweeps between two states kept; `spread` of the random start, from which overlaps are relaxed; `train`
    configurations in the training set, from `chains` chains, half as many for the other sets.
    """

    train: int
    chains: int
    leapfrog: int
    leaps: int
    thin: int
    spread: float = 1.0
    warmup: int = 400


OPTIONS = {
    "dw4": ChainOptions(train=100_000, chains=500, leapfrog=10, leaps=4, thin=10, spread=2.0),
    "lj13": ChainOptions(train=30_000, chains=250, leapfrog=20, leaps=0, thin=6),
}


def run_chains(
    name: str, source: torch.Generator, *, chains: int, count: int, options: ChainOptions | None = None
) -> Record:
    """`count` states of each of `chains` chains of a system, after their warm-up."""
    target, chosen = system(name), options or OPTIONS[name]
    shape = (chains, target.points, target.dimensions)
    start = chosen.spread * torch.randn(shape, generator=source, dtype=torch.float64)
    moving = Chains.start(target, relaxed(target, start), 0.03)
    jumps = Leaps.of(target)
    for _ in range(4):  # tuned from a state that the first sweeps, far from equilibrium, do not spoil
        moving.tune(target, chosen.leapfrog, chosen.warmup // 4, source)
        for _ in range(chosen.leaps * 25):
            jumps.sweep(target, moving, source)
    return record(
        moving, target, count=count, thin=chosen.thin, leapfrog=chosen.leapfrog, generator=source,
        moves=[jumps.sweep] * chosen.leaps,
    )  # fmt: skip


def convergence(found: Record) -> dict[str, float]:
    """What says that chains have converged, of the energy and of the size sum |x|^2."""
    size = found.samples.square().sum((-1, -2))
    draws = found.energies.numel()
    error = float(found.energies.std()) / effective_sample_size(found.energies) ** 0.5
    return {
        "chains": found.energies.shape[1],
        "draws": draws,
        "acceptance": round(found.acceptance, 4),
        "step": round(found.step, 5),
        "r_hat_energy": round(split_r_hat(found.energies), 5),
        "r_hat_size": round(split_r_hat(size), 5),
        "effective_draws_energy": round(effective_sample_size(found.energies)),
        "effective_draws_size": round(effective_sample_size(size)),
        "mean_energy": round(float(found.energies.mean()), 5),
        "mean_energy_error": round(error, 5),
    }


class ParticleData:
    """Configurations of one system `[m, n, d]` for the training loop."""

    def __init__(self, name: str, positions: np.ndarray, record: dict[str, Any] | None = None) -> None:
        self.name, self.positions, self.record = name, positions, record or {}

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.positions).tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.positions)

    def subset(self, count: int) -> ParticleData:
        """The first `count` configurations; the order of a set is random."""
        return ParticleData(self.name, self.positions[:count], self.record)

    def coordinate_scale(self) -> float:
        """Standard deviation per degree of freedom of the centered configurations."""
        m, n, d = self.positions.shape
        squared = np.asarray(self.positions[:10_000], dtype=np.float64) ** 2
        return float(np.sqrt(squared.sum() / (min(m, 10_000) * d * (n - 1))))

    def tensor(self, count: int | None = None) -> Tensor:
        """The first `count` configurations."""
        return torch.from_numpy(np.array(self.positions[:count]))

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        """Every batch reshapes to a dense `[b, n, d]`."""
        m, n, d = self.positions.shape
        order = SizeBuckets(np.full(m, n), bucket, seed, start=start, process=process, processes=processes)
        for rows in order:
            chosen = torch.from_numpy(np.array(self.positions[np.asarray(rows)])).reshape(-1, d)
            yield Batch(
                pos=chosen,
                batch=torch.arange(len(rows)).repeat_interleave(n),
                ptr=torch.arange(0, n * len(rows) + 1, n),
            )

    def card(self) -> dict[str, Any]:
        n = self.positions.shape[1]
        return {
            "elements": [], "size_range": [n, n], "system": self.name,
            "dimensions": self.positions.shape[2],
        }  # fmt: skip


def load(name: str, split: Split) -> ParticleData:
    """A split of "dw4" or "lj13"; the first call runs the chains (a minute for dw4, some for lj13) while others wait.

    Raises DatasetError for another name or split.
    """
    if name not in SYSTEMS or split not in SPLITS:
        raise DatasetError(f"no particle data {name!r}/{split!r}; systems are {', '.join(SYSTEMS)}")
    folder = cache_folder() / "particles" / f"{name}-{split}-{FORMAT}"
    if not (folder / "record.json").exists():
        with exclusive(folder):
            if not (folder / "record.json").exists():
                build(name, split, folder)
    positions = np.load(folder / "positions.npy", mmap_mode="r", allow_pickle=False)
    return ParticleData(name, positions, json.loads((folder / "record.json").read_text(encoding="utf-8")))


def build(name: str, split: Split, folder: Path) -> None:
    """Draw one split and keep it; every split has chains of its own."""
    source = generator(0, f"particles {name} {split}")
    options = OPTIONS[name]
    chains, size = (options.chains, options.train) if split == "train" else (options.chains // 2, HELD_OUT)
    found = run_chains(name, source, chains=chains, count=size // chains)
    draws = found.samples.flatten(0, 1)
    mixed = draws[torch.randperm(len(draws), generator=source)]
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        np.save(temporary / "positions.npy", mixed.float().numpy(), allow_pickle=False)
        content = {"system": name, "split": split, "options": asdict(options), **convergence(found)}
        (temporary / "record.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
