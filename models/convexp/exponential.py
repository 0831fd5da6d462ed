"""exp(M) x for a linear map M that is known by its products only (arXiv 2006.01910, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.core.errors import ConfigError

LARGEST = 64.0
"""Norms beyond are refused: exp(64) leaves nothing of double precision."""


class NormTooLargeError(ConfigError):
    """A linear map whose exponential cannot be had to the accuracy asked for."""


def plan(norm: float, tolerance: float) -> tuple[int, int]:
    """Into how many equal factors exp(M) = exp(M/s)^s is cut, and how many terms of the series each takes.

    `norm` bounds that of M. The neglected terms of a factor, theta^(m+1)/(m+1)! / (1 - theta/(m+2)) with theta =
    norm/s <= 1, stay below tolerance/s. Raises NormTooLargeError where nothing would be left of the accuracy.
    """
    if not norm <= LARGEST:
        raise NormTooLargeError(
            f"the linear map has a norm of up to {norm:.3g}; its exponential is computed for norms to {LARGEST:g}. "
            "Scale the map down."
        )
    factors = max(1, math.ceil(norm))
    theta = norm / factors
    rest, terms = theta, 0
    while rest / (1 - theta / (terms + 2)) > tolerance / factors:
        terms += 1
        rest *= theta / (terms + 1)
    return factors, terms


def exponential(
    product: Callable[[Tensor], Tensor],
    x: Tensor,
    norm: float,
    *,
    tolerance: float | None = None,
    sign: float = 1.0,
) -> Tensor:
    """exp(sign M) x, where `product` is M and `norm` bounds its norm; relative error below `tolerance`.

    The default tolerance is about the rounding error of x's precision. The inverse is sign = -1.
    """
    factors, terms = plan(norm, tolerance or 4 * torch.finfo(x.dtype).eps)
    for _ in range(factors):
        term = x
        for i in range(1, terms + 1):
            term = product(term) * (sign / (factors * i))
            x = x + term
    return x
