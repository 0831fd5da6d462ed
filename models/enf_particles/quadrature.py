"""The partition function of four particles in the plane, to machine precision.

With two particles held at distance r, a third one's weight f(y) = exp(-u(|y - x1|) - u(|y - x2|)) is a function on
the plane, and the fourth sees the third through g(z) = exp(-u(|z|)). So

    Z(r) = integral of f (g * f),    Z = 2 pi / 4 * integral of r exp(-u(r)) Z(r) dr,

a convolution by FFT and one more integral. The integrands are smooth and vanish at the ends, where the trapezoidal
rule converges faster than any power. The factor 1/4 turns relative coordinates y_i = x_i - x_1, which have the
volume n^(d/2) of orthonormal ones, into Lebesgue measure on the centered subspace (n = 4, d = 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.enf_particles.potentials import SMALLEST, PairFunction


@dataclass(frozen=True, eq=False)
class Quadrature:
    """ln Z, mean energy and entropy in nats; and the density of the distance of two particles on its grid `[r]`."""

    log_z: float
    mean_energy: float
    distance: Tensor
    density: Tensor

    @property
    def entropy(self) -> float:
        """Of the centered configurations: ln Z + <E>."""
        return self.log_z + self.mean_energy


def four_in_the_plane(
    pair: PairFunction, *, farthest: float = 8.0, window: float = 24.0, cells: int = 256, shells: int = 160
) -> Quadrature:
    """Integrate over four identical particles in two dimensions with the pair energy `pair`.

    The pair energy must be so large beyond the distance `farthest` that nothing is found there. `window` is the
    side of the square for the third particle, with `cells` squared points. Errors: see the tests, below 1e-9.
    """
    h = window / cells
    axis = (torch.arange(cells, dtype=torch.float64) - cells // 2) * h
    u, v = torch.meshgrid(axis, axis, indexing="ij")

    def energy(shift: float) -> Tensor:
        return pair((u - shift).square() + v.square() + SMALLEST)[0]

    # Energies are taken relative to the lowest one, so that nothing overflows.
    lowest = float(energy(0.0).min())
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(torch.exp(lowest - energy(0.0))))
    r = torch.arange(1, shells + 1, dtype=torch.float64) * farthest / shells
    inner = []
    for distance in r.tolist():
        f = torch.exp(2 * lowest - energy(-distance / 2) - energy(distance / 2))
        inner.append((torch.fft.irfft2(spectrum * torch.fft.rfft2(f), s=f.shape) * f).sum() * h**4)
    ends = pair(r.square() + SMALLEST)[0]
    weight = r * torch.exp(lowest - ends) * torch.stack(inner).clamp(min=0)
    total = weight.sum() * farthest / shells
    mean = float((weight * ends).sum() / weight.sum())
    log_z = float(total.log()) + math.log(2 * math.pi / 4) - 6 * lowest
    return Quadrature(log_z, 6 * mean, r, weight / total)
