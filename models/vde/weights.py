"""Importance weights on the sphere, whose mean is 1/|det A| or its square root.

For s from a density q on the sphere (U: the uniform one), E[U(s)/q(s) |A s|^-n] = 1/|det A| (arXiv 2005.06553,
2012.13311). For A symmetric positive definite also E[U(s)/q(s) (s^T A s)^(-n/2)] = |det A|^(-1/2), from the Gaussian
integral: half the spread for the same product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.core.errors import ConfigError, DivergedError
from models.vde import sphere
from models.vde.errors import NotPositiveDefiniteError
from models.vde.flows import SphericalFlow
from models.vde.operators import Form, LinearOperator, product

CHUNK = 4096
"""Samples held at once."""


def power(form: Form) -> int:
    """p, where the mean of the weights is |det A|^(-1/p)."""
    return 2 if form == "spd" else 1


def log_shrinkage(operator: LinearOperator, s: Tensor, form: Form) -> Tensor:
    """log |A s|^-n, or log (s^T A s)^(-n/2), for points `[b, n]`: `[b]`. Raises NotPositiveDefiniteError."""
    image = product(operator, s)
    if form == "general":
        log_length: Tensor = image.norm(dim=1).log()
        return -operator.size * log_length
    squares = (s * image).sum(1)
    if bool((squares <= 0).any()):
        raise NotPositiveDefiniteError(
            f"the matrix is not positive definite: s^T A s = {float(squares.detach().min()):.3g} for a unit vector s."
        )
    return -0.5 * operator.size * squares.log()


def log_weights(
    operator: LinearOperator,
    flow: SphericalFlow | None,
    samples: int,
    *,
    form: Form = "general",
    generator: torch.Generator,
    cancelled: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Log-weights `[samples]` of points from `flow`, or from the uniform distribution for None.

    One product per sample. Raises ConfigError, NotPositiveDefiniteError, DivergedError, and InterruptedError
    when `cancelled` answers yes.
    """
    if samples < 1:
        raise ConfigError(f"{samples} samples were asked for; wanted at least 1.")
    parts = []
    for start in range(0, samples, CHUNK):
        if cancelled():
            raise InterruptedError("the estimate was cancelled")
        count = min(CHUNK, samples - start)
        with torch.no_grad():
            if flow is None:
                s, log_jacobian = sphere.uniform(count, operator.size, generator), torch.zeros(())
            else:
                s, log_jacobian = flow.sample(count, generator)
            parts.append(log_shrinkage(operator, s, form) + log_jacobian)
    weights = torch.cat(parts)
    if not bool(weights.isfinite().all()):
        raise DivergedError("a sample has no finite weight: the matrix is singular, or its numbers overflow.")
    return weights
