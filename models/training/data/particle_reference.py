"""What is known of a particle system without any flow: ln Z, mean energy and entropy, each with its error.

DW4 by quadrature. LJ13 by thermodynamic integration from free particles in the trap, forward and backward along the
path, and by Bennett's ratio of annealings in both directions; the three are kept side by side, with the mean energy
of all our chains.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from chemistry.datasets.molecules import SPLITS
from chemistry.datasets.store import cache_folder, exclusive
from models.core.errors import ConfigError
from models.core.random import generator
from models.enf_particles.chains import Chains, relaxed
from models.enf_particles.free_energy import (
    Estimate,
    Integrated,
    anneal,
    at_strength,
    bennett,
    free_particles,
    integrate,
    log_z_of_trap,
)  # fmt: skip
from models.enf_particles.potentials import SoftCore, double_well, system
from models.enf_particles.quadrature import four_in_the_plane
from models.training.data.particles import load

FORMAT = 1
PATH = partial(SoftCore, softness=1.0, power=2.0)
"""From free particles to LJ13; the attraction comes late, which keeps the slopes along the path moderate."""


@dataclass(frozen=True)
class Effort:
    """How much is spent on LJ13: nodes and chains of each integration, places and walkers of each annealing."""

    nodes: int = 24
    chains: int = 128
    tuning: int = 60
    sweeps: int = 120
    places: int = 400
    walkers: int = 256


@dataclass(frozen=True)
class Reference:
    """ln Z and mean energy in nats; `estimates` of ln Z by name, whose agreement is the evidence."""

    log_z: Estimate
    mean_energy: Estimate
    estimates: Mapping[str, Estimate]

    @property
    def entropy(self) -> Estimate:
        """Of the centered configurations, ln Z + <E>: the least negative log-likelihood that a model can have."""
        error = math.hypot(self.log_z.error, self.mean_energy.error)
        return Estimate(self.log_z.value + self.mean_energy.value, error)


def reference(name: str) -> Reference:
    """The reference of "dw4" (seconds) or "lj13" (minutes the first time, then from the cache folder)."""
    if name == "dw4":
        exact = four_in_the_plane(double_well)
        log_z, energy = Estimate(exact.log_z, 0.0), Estimate(exact.mean_energy, 0.0)
        return Reference(log_z, energy, {"quadrature": log_z})
    if name != "lj13":
        raise ConfigError(f"there is no reference for the system {name!r}, only for dw4 and lj13.")
    path = cache_folder() / "particles" / f"{name}-reference-{FORMAT}.json"
    if not path.exists():
        with exclusive(path):
            if not path.exists():
                write(path, {method: vars(found) for method, found in estimates(name).items()})
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = {method: Estimate(**values) for method, values in kept.items()}
    return Reference(combined(found), mean_energy(name), found)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write by rename, so that a reader sees all or nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    Path(temporary).replace(path)


def combined(found: Mapping[str, Estimate]) -> Estimate:
    """The mean of the estimates weighed by their errors; its error is no smaller than half of their spread."""
    weights = {method: 1 / max(one.error, 1e-9) ** 2 for method, one in found.items()}
    total = sum(weights.values())
    value = sum(weights[method] * one.value for method, one in found.items()) / total
    values = [one.value for one in found.values()]
    return Estimate(value, max(total**-0.5, (max(values) - min(values)) / 2))


def mean_energy(name: str) -> Estimate:
    """Mean energy of the chains of all splits, which do not know of each other."""
    records = [load(name, split).record for split in SPLITS]
    weights = [1 / record["mean_energy_error"] ** 2 for record in records]
    value = sum(w * record["mean_energy"] for w, record in zip(weights, records, strict=True)) / sum(weights)
    return Estimate(float(value), float(sum(weights) ** -0.5))


def estimates(name: str, effort: Effort | None = None) -> dict[str, Estimate]:
    """ln Z of a trapped system by three methods."""
    effort, target = effort or Effort(), system(name)
    source = generator(0, f"free energy {name}")
    forward, backward = (
        integrate(
            target, PATH, source, backward=back, nodes=effort.nodes, chains=effort.chains,
            tuning=effort.tuning, sweeps=effort.sweeps,
        )
        for back in (False, True)
    )  # fmt: skip
    return {
        "integration_forward": forward.log_z,
        "integration_backward": backward.log_z,
        "annealing": annealed(name, forward, effort, source),
    }


def annealed(name: str, found: Integrated, effort: Effort, source: torch.Generator) -> Estimate:
    """ln Z by Bennett's ratio from annealings in both directions, with the step sizes that the integration tuned."""
    target, places = system(name), torch.linspace(0, 1, effort.places, dtype=torch.float64)
    at = torch.searchsorted(found.nodes, places).clamp(max=len(found.nodes) - 1)
    schedule, steps = places.tolist(), found.steps[at].tolist()
    up = anneal(target, PATH, free_particles(target, effort.walkers, source), schedule, steps, source)
    full = at_strength(target, PATH, 1.0, effort.walkers)
    noise = free_particles(target, effort.walkers, source)
    chains = Chains.start(full, relaxed(full, noise), 0.02)
    chains.tune(full, 10, 400, source)
    for _ in range(200):
        chains.sweep(full, 10, source)
    down = anneal(target, PATH, chains.x, schedule[::-1], steps[::-1], source)
    difference = bennett(up, down)
    return Estimate(log_z_of_trap(target) - difference.value, difference.error)
