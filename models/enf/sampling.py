"""Sampling: molecules of equal size go from the base to the data together, each with steps of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.core.ode import Solver
from models.core.precision import network_autocast
from models.core.random import generator, stacked_normal
from models.edm.buckets import split_lanes
from models.edm.sampling import FARTHEST_ANGSTROM, Sample
from models.enf.ode import carry

if TYPE_CHECKING:
    from models.enf.model import ENF


def sample(
    model: ENF, sizes: Sequence[int], seeds: Sequence[int], *, solver: Solver | None = None,
    temperature: float = 1.0, watch: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Sample]:  # fmt: skip
    """One molecule per size and seed, from noise of standard deviation `temperature` (1: the model's own density).

    Molecule k depends on `sizes[k]`, `seeds[k]` and the solver, not on its neighbors, up to rounding. `watch` is
    called before every network call and may raise; `progress` hears how many molecules are done.
    """
    if len(sizes) != len(seeds) or not sizes:
        raise ConfigError(f"{len(sizes)} sizes and {len(seeds)} seeds were given; one of each per molecule.")
    if min(sizes) < 1:
        raise ConfigError(f"a molecule needs at least one atom, but a size of {min(sizes)} was given.")
    if temperature <= 0:
        raise ConfigError(f"temperature is {temperature}, but must be positive.")
    chosen = solver or model.solver
    out: dict[int, Sample] = {}
    for n in sorted(set(sizes)):
        rows = [k for k, size in enumerate(sizes) if size == n]
        for part in split_lanes(n, rows, model.device):
            out.update(
                zip(part, bucket(model, n, [seeds[k] for k in part], chosen, temperature, watch), strict=True)
            )
            progress(len(out))
    return [out[k] for k in range(len(sizes))]


def bucket(
    model: ENF, n: int, seeds: Sequence[int], solver: Solver, temperature: float, watch: Callable[[], None]
) -> list[Sample]:
    """Molecules of n atoms."""
    sources = [generator(seed, "noise") for seed in seeds]
    noise = temperature * stacked_normal(sources, (n, 3 + model.features.channels), dtype=model.dtype).to(
        model.device
    )
    with torch.inference_mode(), network_autocast(model.device):
        end = carry(model.field, remove_mean(noise[..., :3]), noise[..., 3:], 1.0, 0.0, solver, watch=watch)
        x, h = model.actnorm.inverse(end.x, end.h)
    finite = torch.isfinite(x).all((-1, -2)) & torch.isfinite(h).all((-1, -2))
    positions = remove_mean(x.double()).cpu().numpy()
    numbers = model.dequantizer.decode(h).cpu().numpy()
    near = np.abs(np.nan_to_num(positions)).max((1, 2)) < FARTHEST_ANGSTROM
    return [
        Sample(numbers[k], positions[k], not (bool(finite[k]) and bool(near[k]))) for k in range(len(seeds))
    ]
