"""The training losses: flow matching with aligned noise, or maximum likelihood as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from models.core.centered import centered_normal_log_prob, remove_mean
from models.core.errors import ConfigError
from models.core.ode import Solver
from models.enf.field import VectorField
from models.enf.matching import draw_times
from models.enf.ode import carry
from models.enf_particles.alignment import aligned


@dataclass(frozen=True)
class LossOptions:
    """kind: "matching" or "likelihood". Matching: `rounds` of alignment (0: none); log(t / (1-t)) has the mean
    `center` and the standard deviation `spread`. Likelihood: `steps` of RK4.
    """

    kind: str = "matching"
    rounds: int = 2
    center: float = -0.5
    spread: float = 1.6
    steps: int = 6

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe; unknown keys are errors."""
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"particle flow's loss: unknown settings {unknown}; known are {sorted(cls.__dataclass_fields__)}."
            )
        chosen = cls(**values)
        if chosen.kind not in ("matching", "likelihood"):
            raise ConfigError(
                f"particle flow's loss kind is {chosen.kind!r}; choose 'matching' or 'likelihood'."
            )
        return chosen


def matching_loss(field: VectorField, x: Tensor, options: LossOptions, source: torch.Generator) -> Tensor:
    """Squared error of the velocity per degree of freedom `[b]` on straight paths from scaled positions
    `[b, n, d]` to noise, divided by what the best linear guess would leave.
    """
    b, n, d = x.shape
    t = draw_times(b, options.center, options.spread, source).to(x.device, x.dtype)
    at = t[:, None, None]
    drawn = torch.randn(x.shape, generator=source, dtype=x.dtype, device=source.device)
    noise = remove_mean(drawn.to(x.device))
    if options.rounds:
        noise = aligned(noise, x, rounds=options.rounds)
    velocity, _ = field(t, (1 - at) * x + at * noise, x.new_zeros(b, n, 0))
    error = (velocity - (noise - x)).square().sum((-1, -2)) / (d * (n - 1))
    unit = (1 - t).square() + t.square()
    weighted: Tensor = error * unit
    return weighted


def likelihood_loss(field: VectorField, x: Tensor, options: LossOptions, source: torch.Generator) -> Tensor:
    """Negative log-likelihood `[b]` in nats of scaled positions `[b, n, d]`, by Hutchinson's estimator with one
    Rademacher probe, as published; gradients go through fixed steps (published: an adjoint equation).
    """
    signs = torch.randint(0, 2, x.shape, generator=source, device=source.device).to(x) * 2 - 1
    end = carry(
        field, x, x.new_zeros(*x.shape[:2], 0), 0.0, 1.0, Solver("rk4", steps=options.steps),
        divergence="hutchinson", probe=remove_mean(signs), train=True,
    )  # fmt: skip
    return -(centered_normal_log_prob(end.x) + end.log_volume)
