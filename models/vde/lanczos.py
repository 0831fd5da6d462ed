"""Stochastic Lanczos quadrature: log det A = tr log A from random probes (Ubaru, Chen and Saad, SIAM J. Matrix
Anal. Appl. 38, 1075, 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.vde.errors import NotPositiveDefiniteError
from models.vde.operators import Form, LinearOperator, normal
from models.vde.results import LogDeterminant

_SMALL = 1e-12


def lanczos_log_det(
    operator: LinearOperator,
    *,
    probes: int = 30,
    steps: int = 30,
    form: Form = "general",
    generator: torch.Generator,
    cancelled: Callable[[], bool] = lambda: False,
) -> LogDeterminant:
    """log|det A| from `probes` random signs and as many Lanczos `steps` for each, all probes together.

    For a general matrix half of log det A^T A, at two products a step. The standard error is that of the probes;
    the quadrature's own error shrinks with `steps` and is not in it. Raises NotPositiveDefiniteError, and
    InterruptedError when `cancelled` answers yes.
    """
    if probes < 2 or steps < 1:
        raise ConfigError(f"probes ({probes}) must be at least 2 and steps ({steps}) at least 1.")
    before = operator.matvecs
    symmetric = operator if form == "spd" else normal(operator)
    n = operator.size
    start = torch.randint(2, (probes, n), generator=generator).to(torch.float64) * 2 - 1
    diagonal, off = _tridiagonal(symmetric, start / math.sqrt(n), min(steps, n), cancelled)
    values = torch.stack([_quadrature(a, b) for a, b in zip(diagonal, off, strict=True)])
    values = n * values * (1.0 if form == "spd" else 0.5)
    value, error = float(values.mean()), float(values.std()) / math.sqrt(probes)
    low, high = value - 1.96 * error, value + 1.96 * error
    return LogDeterminant(value, "estimate", error, low, high, operator.matvecs - before, probes)


def _tridiagonal(
    operator: LinearOperator, start: Tensor, steps: int, cancelled: Callable[[], bool]
) -> tuple[Tensor, Tensor]:
    """Lanczos with full reorthogonalization for every row of `start`: diagonals `[p, m]`, the rest `[p, m - 1]`.

    A row whose Krylov space is exhausted goes on with zeros, which the quadrature cuts off.
    """
    basis = [start]
    diagonal, off = [], []
    for step in range(steps):
        if cancelled():
            raise InterruptedError("the estimate was cancelled")
        image = operator.apply(basis[-1])
        diagonal.append((basis[-1] * image).sum(1))
        if step == steps - 1:
            break
        known = torch.stack(basis, 1)
        for _ in range(2):  # twice is enough
            image = image - torch.einsum("pk,pkn->pn", torch.einsum("pkn,pn->pk", known, image), known)
        length = image.norm(dim=1)
        alive = length > _SMALL * diagonal[0].abs()
        off.append(torch.where(alive, length, torch.zeros_like(length)))
        basis.append(
            torch.where(alive[:, None], image / length.clamp_min(1e-300)[:, None], torch.zeros_like(image))
        )
    return torch.stack(diagonal, 1), torch.stack(off, 1) if off else start.new_zeros(len(start), 0)


def _quadrature(diagonal: Tensor, off: Tensor) -> Tensor:
    """sum of tau_k log theta_k over the eigenpairs of one tridiagonal matrix."""
    ended = (off == 0).nonzero()
    m = int(ended[0]) + 1 if len(ended) else len(diagonal)
    off = off[: m - 1]
    matrix = torch.diag(diagonal[:m]) + torch.diag(off, 1) + torch.diag(off, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    if float(nodes[0]) <= 0:
        raise NotPositiveDefiniteError(
            f"the matrix is not positive definite, or singular: Lanczos met the eigenvalue {float(nodes[0]):.3g}."
        )
    total: Tensor = (vectors[0].square() * nodes.log()).sum()
    return total
