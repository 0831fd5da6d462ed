"""The experiment: particles of charge +1 or -1 that attract and repel each other in free space.

Set-up and constants of the published experiment: unit masses, force q_i q_j r / |r|^3 with every component cut at
100, steps of 0.001 in which the velocity moves before the position, positions drawn from a standard normal
distribution and folded once into a box of half width 5, velocities of length 0.5 in random directions. A trajectory
is read from step 3,100 on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.core.errors import ShapeError

STEP = 0.001
LARGEST_FORCE = 100.0
BOX = 5.0
SPEED = 0.5
START, HORIZON = 3100, 1000
"""Steps before a trajectory is read, and from there to the positions that are asked for."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Particles:
    """Positions and velocities `[trajectories, n, 3]`, charges `[trajectories, n]`."""

    positions: Array
    velocities: Array
    charges: Array


def draw(count: int, source: np.random.Generator, particles: int = 5) -> Particles:
    """Random starts."""
    charges = source.choice([-1.0, 1.0], (count, particles))
    positions = source.standard_normal((count, particles, 3))
    velocities = source.standard_normal((count, particles, 3))
    velocities *= SPEED / np.linalg.norm(velocities, axis=-1, keepdims=True)
    outside = np.abs(positions) > BOX
    folded = np.sign(positions) * 2 * BOX - positions
    return Particles(
        np.where(outside, folded, positions),
        np.where(outside, -np.sign(positions) * np.abs(velocities), velocities),
        charges,
    )


def forces(positions: Array, charges: Array) -> Array:
    """Force on every particle, `[trajectories, n, 3]`, every component cut at `LARGEST_FORCE`."""
    i, j = np.triu_indices(positions.shape[-2], 1)
    between = positions[:, i] - positions[:, j]
    squared = np.maximum(np.square(between).sum(-1), 1e-12)
    pull = (charges[:, i] * charges[:, j] / (squared * np.sqrt(squared)))[..., None] * between
    ends = np.zeros((positions.shape[-2], len(i)))
    ends[i, np.arange(len(i))], ends[j, np.arange(len(j))] = 1.0, -1.0
    total: Array = np.clip(ends @ pull, -LARGEST_FORCE, LARGEST_FORCE)
    return total


def advance(state: Particles, steps: int) -> Particles:
    """The particles `steps` steps later. Raises ShapeError when the arrays do not fit together."""
    if state.positions.shape != state.velocities.shape or state.positions.shape[:-1] != state.charges.shape:
        raise ShapeError(
            "velocities", state.velocities.shape, f"{state.positions.shape} and charges one number each"
        )
    x, v = state.positions.copy(), state.velocities.copy()
    for _ in range(steps):
        v += STEP * forces(x, state.charges)
        x += STEP * v
    return Particles(x, v, state.charges)


def energy(state: Particles) -> Array:
    """Kinetic plus Coulomb energy of every trajectory, conserved but for the finite step and the cut force."""
    i, j = np.triu_indices(state.positions.shape[-2], 1)
    distance = np.linalg.norm(state.positions[:, i] - state.positions[:, j], axis=-1)
    potential = (state.charges[:, i] * state.charges[:, j] / distance).sum(-1)
    total: Array = 0.5 * np.square(state.velocities).sum((-1, -2)) + potential
    return total
