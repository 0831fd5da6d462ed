"""The training losses of the flow: flow matching, or maximum likelihood as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from models.core.centered import LOG_TWO_PI, degrees_of_freedom
from models.core.errors import ConfigError
from models.core.ode import Solver
from models.enf.matching import matching_loss
from models.enf.ode import carry, centered_state

if TYPE_CHECKING:
    from models.enf.model import ENF


@dataclass(frozen=True)
class LossOptions:
    """kind: "matching" or "likelihood". Matching: feature_weight of the elements' loss beside the positions';
    log(t / (1-t)) has the mean `center` and the standard deviation `spread`. Likelihood: `steps` of RK4, and the
    weight `regularization` of the field's kinetic energy and Jacobian (0.001 published).
    """

    kind: str = "matching"
    feature_weight: float = 0.5
    center: float = -1.5
    spread: float = 1.6
    steps: int = 8
    regularization: float = 1e-3

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe; unknown keys are errors."""
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"E-NF's loss: unknown settings {unknown}; known are {sorted(cls.__dataclass_fields__)}."
            )
        return cls(**values)


def drawn_noise(model: ENF, numbers: Tensor, source: torch.Generator) -> Tensor:
    """Noise for the dequantizer, drawn again until every element survives it."""
    shape = (*numbers.shape, model.features.channels)
    noise = torch.randn(shape, generator=source, device=source.device).to(numbers.device)
    while not bool((kept := model.dequantizer.keeps(numbers, noise)).all()):
        again = torch.randn(shape, generator=source, device=source.device).to(numbers.device)
        noise[~kept] = again[~kept]
    return noise


def likelihood_loss(
    model: ENF,
    numbers: Tensor,
    x: Tensor,
    h: Tensor,
    log_q: Tensor,
    options: LossOptions,
    source: torch.Generator,
) -> dict[str, Tensor]:
    """The negative bound on log p in nats and the published regularization of the field, each `[b]`.

    Gradients go through fixed steps of RK4 (the published code solves an adjoint equation instead), the trace is
    Hutchinson's with one normal probe, as published.
    """
    b, n = numbers.shape
    z_x, z_h, log_det = model.actnorm(x, h)
    drawn = torch.randn(b, n, 3 + h.shape[-1], generator=source, device=source.device)
    probe = centered_state(drawn.to(x.device, x.dtype), 3)
    end = carry(
        model.field, z_x, z_h, 0.0, 1.0, Solver("rk4", steps=options.steps),
        divergence="hutchinson", probe=probe, regularize=True, train=True,
    )  # fmt: skip
    base = -0.5 * (end.x.square().sum((-1, -2)) + end.h.square().sum((-1, -2)))
    constant = 0.5 * LOG_TWO_PI * (degrees_of_freedom(n) + n * h.shape[-1])
    bound = base - constant + end.log_volume + log_det.to(x.dtype) - log_q + model.sizes.log_prob(n)
    return {
        "loss": -bound + options.regularization * end.regularization,
        "negative_bound": -bound,
        "regularization": end.regularization,
    }


def loss_of_bucket(
    model: ENF, numbers: Tensor, x: Tensor, options: Mapping[str, Any], source: torch.Generator
) -> dict[str, Tensor]:
    """Losses `[b]` of molecules of one size: atomic numbers `[b, n]`, centered positions `[b, n, 3]` in Angstrom."""
    chosen = LossOptions.from_dict(options)
    noise = drawn_noise(model, numbers, source)
    h, log_q = model.dequantizer(numbers, x, noise)
    if chosen.kind == "matching":
        z_x, z_h, _ = model.actnorm(x, h)
        position, feature = matching_loss(
            model.field,
            z_x,
            z_h,
            model.features.types(numbers),
            center=chosen.center,
            spread=chosen.spread,
            source=source,
        )
        return {"loss": position + chosen.feature_weight * feature, "position": position, "feature": feature}
    if chosen.kind == "likelihood":
        return likelihood_loss(model, numbers, x, h, log_q, chosen, source)
    raise ConfigError(f"E-NF's loss kind is {chosen.kind!r}; choose 'matching' or 'likelihood'.")
