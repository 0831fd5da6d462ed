"""A sampling run: molecules of any sizes, advanced together one network call at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.errors import ConfigError
from models.core.precision import network_autocast
from models.edm.buckets import split_lanes
from models.edm.denoiser import Denoiser
from models.edm.lanes import Lanes
from models.edm.samplers import make_sampler
from models.edm.told import told

FARTHEST_ANGSTROM = 1000.0


@dataclass(frozen=True, eq=False)
class Sample:
    """A molecule as it left the model: atomic numbers `[n]`, centered positions `[n, 3]` in Angstrom.

    `diverged` marks numbers that left the finite range; such a sample is no molecule.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    diverged: bool


class SamplingRun:
    """Molecules on their way from noise; `step` until `done`, then `result`.

    Molecule k depends on `sizes[k]`, `seeds[k]` and the sampler only, not on its neighbors.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        sizes: Sequence[int],
        seeds: Sequence[int],
        *,
        sampler: str,
        steps: int,
        churn: float,
        context: Tensor | None = None,
    ) -> None:
        if len(sizes) != len(seeds) or not sizes:
            raise ConfigError(
                f"{len(sizes)} sizes and {len(seeds)} seeds were given; one of each per molecule."
            )
        if min(sizes) < 1:
            raise ConfigError(f"a molecule needs at least one atom, but a size of {min(sizes)} was given.")
        self.denoiser = denoiser
        self.device = denoiser.device
        self.sampler = make_sampler(sampler, steps, churn, denoiser)
        grid = self.sampler.grid(denoiser)
        self.count = len(sizes)
        self.lanes: list[Lanes] = []
        self.views: list[Denoiser] = []  # of the lanes at the same place, told their conditions
        for n in sorted(set(sizes)):
            rows = [k for k, size in enumerate(sizes) if size == n]
            for part in split_lanes(n, rows, self.device):
                self.lanes.append(Lanes.start(denoiser, n, [seeds[k] for k in part], grid, part))
                self.views.append(told(denoiser, context, part, remembers=True))
        self.calls = 0
        self.total_calls = self.sampler.calls()

    @property
    def done(self) -> bool:
        """Whether every molecule has arrived."""
        return self.calls >= self.total_calls

    def step(self) -> None:
        """One network call for every molecule."""
        if self.done:
            raise ConfigError("the run is done; ask for its result.")
        with torch.inference_mode(), network_autocast(self.device):
            for view, lanes in zip(self.views, self.lanes, strict=True):
                self.sampler.advance(view, lanes)
        self.calls += 1

    def frame(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """The present estimate of every clean molecule, for trajectories: numbers and positions in Angstrom."""
        return [(s.numbers, s.positions) for s in self.collect(estimate=True)]

    def result(self) -> list[Sample]:
        """The molecules, in the order of `sizes`; raises ConfigError before the run is done."""
        if not self.done:
            raise ConfigError(f"the run has made {self.calls} of {self.total_calls} network calls.")
        return self.collect(estimate=False)

    def collect(self, *, estimate: bool) -> list[Sample]:
        """States or estimates of all lanes in the order of the request."""
        features = self.denoiser.features
        out: list[Any] = [None] * self.count
        for lanes in self.lanes:
            x, h = (lanes.estimate.x, lanes.estimate.h) if estimate and lanes.estimate else (lanes.x, lanes.h)
            positions = (x * features.coordinate_scale).cpu().numpy()
            numbers = features.decode(h).cpu().numpy()
            finite = torch.isfinite(x).all((-1, -2)) & torch.isfinite(h).all((-1, -2))
            near = np.abs(np.nan_to_num(positions)).max((1, 2)) < FARTHEST_ANGSTROM
            for k, row in enumerate(lanes.rows):
                out[row] = Sample(
                    numbers[k], positions[k].astype(np.float64), not (bool(finite[k]) and bool(near[k]))
                )
        return out
