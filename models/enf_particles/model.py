"""A continuous flow over configurations of a fixed number of identical particles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from models.core.centered import centered_normal, centered_normal_log_prob, degrees_of_freedom, remove_mean
from models.core.errors import ConfigError, ShapeError
from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.core.placed import Placed
from models.core.random import generator, stacked_normal
from models.egnn.config import EGNNConfig
from models.enf.field import PreconditionedField
from models.enf.ode import carry
from models.enf.quadrature import carry_exactly
from models.enf_particles.loss import LossOptions, likelihood_loss, matching_loss
from models.enf_particles.potentials import PairPotential, system

TIME_PAIRS = 8
KNOWN = {"system", "coordinate_scale", "position_scale", "network"}
SAMPLER = Solver("rk4", steps=12, refine=0.05)
"""How samples are drawn unless said otherwise: smaller steps near the data, where the field is steep."""

Trace = Literal["exact", "hutchinson"]


def nobody() -> None:
    """Watches nothing."""


class Drawn(NamedTuple):
    """Samples `[b, n, d]`, and the flow's own log-likelihood of each `[b]` in nats, or None when not asked for."""

    x: Tensor
    log_prob: Tensor | None


class ParticleFlow(Placed):
    """p(x) on the d(n-1)-dimensional centered subspace, invariant under rotation, reflection and relabeling.

    The base is a standard normal on that subspace; data are divided by `coordinate_scale`, their standard
    deviation, which log p counts. Time 0 is where the data are.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        unknown, missing = sorted(set(config) - KNOWN), sorted(KNOWN - {"position_scale"} - set(config))
        if unknown or missing:
            raise ConfigError(
                f"particle flow: unknown settings {unknown}, missing {missing}; known are {sorted(KNOWN)}."
            )
        self.config = dict(config)
        self.system: PairPotential = system(config["system"])
        self.scale = float(config["coordinate_scale"])
        if not self.scale > 0:
            raise ConfigError(f"particle flow: coordinate_scale is {self.scale}, but it must be positive.")
        network = {"inputs": 2 * TIME_PAIRS, "outputs": 1, **config["network"]}
        self.field = PreconditionedField(
            EGNNConfig.from_dict(network), 0, time_pairs=TIME_PAIRS,
            position_scale=float(config.get("position_scale", 1.0)),
        )  # fmt: skip

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's choices, the data's system and standard deviation."""
        return {**recipe, "system": data.name, "coordinate_scale": round(data.coordinate_scale(), 4)}

    @property
    def points(self) -> int:
        """Number of particles."""
        return self.system.points

    @property
    def dimensions(self) -> int:
        """Dimensions of space."""
        return self.system.dimensions

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses `[b]` of a batch of configurations (`pos`); `options` are those of `models.enf_particles.loss`."""
        chosen = LossOptions.from_dict(options)
        x = remove_mean(batch.pos.view(-1, self.points, self.dimensions)) / self.scale
        if chosen.kind == "matching":
            return {"loss": matching_loss(self.field, x, chosen, generator)}
        nats = likelihood_loss(self.field, x, chosen, generator) + self.log_scale
        return {
            "loss": nats / degrees_of_freedom(self.points, self.dimensions),
            "negative_log_likelihood": nats,
        }

    @property
    def log_scale(self) -> float:
        """log volume of the scaling by `coordinate_scale`."""
        return degrees_of_freedom(self.points, self.dimensions) * math.log(self.scale)

    def checked(self, x: Tensor) -> Tensor:
        """Centered positions in units of the scale and in the model's precision. Raises ShapeError."""
        if x.dim() != 3 or tuple(x.shape[1:]) != (self.points, self.dimensions):
            raise ShapeError("x", x.shape, f"[b, {self.points}, {self.dimensions}]")
        return (remove_mean(x.double()) / self.scale).to(self.device, self.dtype)

    def log_prob_exact(
        self, x: Tensor, *, solver: Solver | None = None, watch: Callable[[], None] = nobody
    ) -> tuple[Tensor, Tensor]:
        """log p of configurations `[b, n, d]` with the exact trace, and the integration's error, both `[b]` in nats.

        By the quadrature of `carry_exactly`, which tells its error, or by a given `solver`, which does not (NaN).
        """
        z = self.checked(x)
        none = z.new_zeros(*z.shape[:2], 0)
        if solver is None:
            end, error = carry_exactly(self.field, z, none, intervals=32, substeps=1, refine=0.2, watch=watch)
        else:
            end = carry(self.field, z, none, 0.0, 1.0, solver, divergence="exact", watch=watch)
            error = torch.full((len(z),), math.nan)
        value = centered_normal_log_prob(end.x.double()) + end.log_volume.double() - self.log_scale
        return value, error

    def log_prob_hutchinson(
        self, x: Tensor, sources: Sequence[torch.Generator], *, draws: int, solver: Solver = SAMPLER,
        watch: Callable[[], None] = nobody,
    ) -> Tensor:  # fmt: skip
        """Unbiased estimates of log p `[b, draws]` in nats, each with a Rademacher probe from the row's generator."""
        z = self.checked(x)
        none = z.new_zeros(*z.shape[:2], 0)
        values = []
        for _ in range(draws):
            signs = stacked_normal(sources, (self.points, self.dimensions), dtype=self.dtype).sign()
            end = carry(
                self.field, z, none, 0.0, 1.0, solver, divergence="hutchinson",
                probe=remove_mean(signs).to(z.device), watch=watch,
            )  # fmt: skip
            values.append(centered_normal_log_prob(end.x.double()) + end.log_volume.double() - self.log_scale)
        return torch.stack(values, 1)

    def log_prob(
        self, x: Tensor, seeds: Sequence[int], *, trace: Trace = "exact", draws: int = 8,
        watch: Callable[[], None] = nobody,
    ) -> list[Likelihood]:  # fmt: skip
        """log p of each configuration `[b, n, d]` in nats, with respect to Lebesgue measure on the centered subspace.

        exact: no random draws, standard_error is the integration's own error. hutchinson: the mean of `draws`
        estimates and its standard error. Configuration k depends on its own seed only, up to rounding.
        """
        if trace == "exact":
            value, error = self.log_prob_exact(x, watch=watch)
            pairs = zip(value.tolist(), error.tolist(), strict=True)
            return [Likelihood(v, 0.0, "exact", 1, integration_error=e) for v, e in pairs]
        if draws < 2:
            raise ConfigError(f"draws is {draws}, but at least 2 are needed for a standard error.")
        sources = [generator(seed, "probe") for seed in seeds]
        found = self.log_prob_hutchinson(x, sources, draws=draws, watch=watch)
        spread = found.std(1) / math.sqrt(draws)
        return [
            Likelihood(v, e, "estimate", draws)
            for v, e in zip(found.mean(1).tolist(), spread.tolist(), strict=True)
        ]

    @torch.no_grad()
    def sample(
        self, seeds: Sequence[int], *, solver: Solver = SAMPLER, weigh: bool = False,
        watch: Callable[[], None] = nobody,
    ) -> Drawn:  # fmt: skip
        """One configuration per seed; with `weigh` also the flow's exact log-likelihood of each.

        Configuration k depends on its own seed only, up to rounding.
        """
        sources = [generator(seed, "noise") for seed in seeds]
        noise = centered_normal(sources, self.points, dimensions=self.dimensions).to(self.device, self.dtype)
        end = carry(self.field, noise, noise.new_zeros(*noise.shape[:2], 0), 1.0, 0.0, solver, watch=watch)
        x = remove_mean(end.x.double()) * self.scale
        return Drawn(x, self.log_prob_exact(x, watch=watch)[0] if weigh else None)


def log_weights(model: ParticleFlow, drawn: Drawn) -> Tensor:
    """log of the importance weights exp(-E(x)) / p(x) `[b]`; their mean is the system's partition function."""
    if drawn.log_prob is None:
        raise ConfigError("importance weights need the samples' likelihoods; sample with weigh=True.")
    return -model.system.energy(drawn.x.cpu()) - drawn.log_prob.cpu()


def effective_share(log_weight: Tensor) -> float:
    """Kish's effective sample size as a share of the samples: (sum w)^2 / (n sum w^2)."""
    w = torch.softmax(log_weight, 0)
    return float(1 / (len(w) * w.square().sum()))
