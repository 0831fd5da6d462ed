"""log p(x, elements, N) of molecules by the flow: exact trace or Hutchinson's estimate of it.

    log p >= E_q [ log p_base(z) + flow + actnorm - log q(h | x, elements) ] + log p(N)

The base measure is Lebesgue measure in Angstrom on the 3(N-1)-dimensional centered subspace; elements are discrete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.centered import centered_normal_log_prob, remove_mean
from models.core.errors import ConfigError
from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.core.random import generator, stacked_normal
from models.edm.buckets import size_buckets
from models.enf.dequantize import normal_log_prob
from models.enf.ode import Carried, carry, centered_state
from models.enf.quadrature import carry_exactly

if TYPE_CHECKING:
    from models.enf.model import ENF

Trace = Literal["exact", "hutchinson"]


DIRECTIONS, PAIRS = 64, 512
"""Derivatives of so many directions of a molecule of so many ordered pairs are made at once: what fits a cache."""


@dataclass(frozen=True)
class Quadrature:
    """How the exact trace is summed along the path: see `models.enf.quadrature.carry_exactly`."""

    intervals: int = 16
    substeps: int = 2
    refine: float = 0.01


class Parts(NamedTuple):
    """What adds up to log p(x, elements | N), each `[b]` in nats; `flow` is the integral of the divergence."""

    base: Tensor
    flow: Tensor
    actnorm: Tensor
    dequantization: Tensor  # -log q

    def total(self) -> Tensor:
        return self.base + self.flow + self.actnorm + self.dequantization


def base_log_prob(x: Tensor, h: Tensor) -> Tensor:
    """log density of the base `[b]`: centered standard normal positions, standard normal features."""
    return centered_normal_log_prob(x.double()) + normal_log_prob(h.double())


def parts_of(
    model: ENF, numbers: Tensor, x: Tensor, noise: Tensor, method: Solver | Quadrature,
    *, probe: Tensor | None = None, watch: Callable[[], None] = lambda: None,
) -> tuple[Parts, Carried, Tensor]:  # fmt: skip
    """The parts for given dequantization `noise` `[b, n, c]`, with the trace exact or by Hutchinson with a given
    `probe` `[b, n, 3 + c]`; where the path ended; and the quadrature's error `[b]` (0 for a solver's tolerance).

    numbers `[b, n]`, x `[b, n, 3]` centered, in Angstrom, in the model's precision.
    """
    with torch.no_grad():
        h, log_q = model.dequantizer(numbers, x, noise)
        z_x, z_h, log_det = model.actnorm(x, h)
    error = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    chunk = max(4, DIRECTIONS * PAIRS // (len(x) * max(1, x.shape[1] ** 2)))
    if isinstance(method, Quadrature):
        end, error = carry_exactly(
            model.field, z_x, z_h, intervals=method.intervals, substeps=method.substeps, refine=method.refine,
            chunk=chunk, watch=watch,
        )  # fmt: skip
    else:
        end = carry(
            model.field, z_x, z_h, 0.0, 1.0, method, chunk=chunk, watch=watch,
            divergence="exact" if probe is None else "hutchinson", probe=probe,
        )  # fmt: skip
    ones = torch.ones(len(x), dtype=torch.float64, device=x.device)
    parts = Parts(base_log_prob(end.x, end.h), end.log_volume.double(), log_det * ones, -log_q.double())
    return parts, end, error


def drawn(model: ENF, numbers: Tensor, sources: Sequence[torch.Generator]) -> Tensor:
    """Dequantization noise `[b, n, c]`, each row from its own generator, drawn again until its elements survive."""
    shape = (numbers.shape[1], model.features.channels)
    noise = stacked_normal(sources, shape, dtype=model.dtype).to(numbers.device)
    while not bool((kept := model.dequantizer.keeps(numbers, noise)).all()):
        lost = (~kept).nonzero()[:, 0].tolist()
        again = stacked_normal([sources[k] for k in lost], shape, dtype=model.dtype)
        noise[lost] = again.to(numbers.device)
    return noise


def log_prob_of_rows(
    model: ENF, numbers: Tensor, positions: Tensor, sources: Sequence[torch.Generator],
    trace: Trace, method: Solver | Quadrature, watch: Callable[[], None],
) -> tuple[Parts, Tensor]:  # fmt: skip
    """One draw for each row of a bucket: its parts and the quadrature's error `[b]`."""
    x = remove_mean(positions.double()).to(model.dtype)
    noise = drawn(model, numbers, sources)
    probe = None
    if trace == "hutchinson":
        signs = stacked_normal(
            sources, (numbers.shape[1], 3 + model.features.channels), dtype=model.dtype
        ).sign()
        probe = centered_state(signs.to(x.device), 3)
    parts, _, error = parts_of(model, numbers, x, noise, method, probe=probe, watch=watch)
    return parts, error


def log_prob(
    model: ENF,
    numbers: Sequence[NDArray[np.integer]],
    positions: Sequence[NDArray[np.floating]],
    seeds: Sequence[int],
    *,
    trace: Trace = "exact",
    draws: int = 1,
    method: Solver | Quadrature | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Likelihood]:
    """A lower bound on log p(x, elements, N) of each molecule in nats: the mean over `draws` dequantizations.

    standard_error is that of the mean over draws (infinite for one): of the dequantization alone with the exact
    trace, of it and Hutchinson's probes without. The error of the integration is separate: `integration_error`,
    where the quadrature tells it. Molecule k depends on its own seed only, up to rounding. Raises ConfigError for
    draws < 1 and InterruptedError when `cancelled` answers yes.
    """
    if draws < 1:
        raise ConfigError(f"draws is {draws}, but at least 1 is needed.")
    if trace not in ("exact", "hutchinson"):
        raise ConfigError(f"trace is {trace!r}; choose 'exact' or 'hutchinson'.")
    chosen: Solver | Quadrature = method or (model.quadrature if trace == "exact" else model.solver)
    if isinstance(chosen, Quadrature) and trace == "hutchinson":
        raise ConfigError("the quadrature is for the exact trace; give a solver for Hutchinson's estimator.")

    def watch() -> None:
        if cancelled():
            raise InterruptedError("scoring was cancelled")

    out: dict[int, Likelihood] = {}
    for part, z, x in size_buckets(numbers, positions, model.device):
        found: list[Parts] = []
        errors: list[Tensor] = []
        for draw in range(draws):
            sources = [generator(seeds[k], f"likelihood {draw}") for k in part]
            parts, error = log_prob_of_rows(model, z, x, sources, trace, chosen, watch)
            found.append(parts)
            errors.append(error)
        totals = torch.stack([parts.total() for parts in found], 1)
        spread = totals.std(1) / math.sqrt(draws) if draws > 1 else torch.full((len(part),), math.inf)
        size = model.sizes.log_prob(z.shape[1])
        for place, row in enumerate(part):
            terms = {
                name: float(torch.stack([getattr(parts, name)[place] for parts in found]).mean())
                for name in Parts._fields
            }
            largest = max(float(each[place]) for each in errors)
            value = float(totals[place].mean()) + size
            out[row] = Likelihood(
                value,
                float(spread[place]),
                "lower_bound",
                draws,
                {**terms, "size": size},
                integration_error=largest,
            )
        progress(len(out))
    return [out[k] for k in range(len(numbers))]
