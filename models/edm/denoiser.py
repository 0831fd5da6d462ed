"""Denoisers: from a noisy molecule x + s eps to an estimate of the clean one.

Both parametrizations answer in the variance-exploding frame, so samplers, bounds and losses are written once.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.core.placed import Placed
from models.edm.features import AtomFeatures
from models.edm.learned import LearnedGamma
from models.edm.process import Process, Tabulated, VarianceExploding
from models.egnn.config import EGNNConfig
from models.egnn.network import EGNN
from models.egnn.pairs import Pairs


class Denoised(NamedTuple):
    """Estimates of the clean positions `[b, n, 3]` and features `[b, n, c]`, and element logits where known."""

    x: Tensor
    h: Tensor
    logits: Tensor | None


def levels(level: Tensor) -> Tensor:
    """Noise levels `[b]` shaped to multiply `[b, n, c]`."""
    return level[:, None, None]


class Denoiser(Protocol):
    """What samplers, bounds and flows need of a model: a denoiser in the variance-exploding frame."""

    @property
    def features(self) -> AtomFeatures: ...

    @property
    def process(self) -> Process: ...

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision that it computes in."""

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        """Estimates for noisy positions `[b, n, 3]` (centered) and features `[b, n, c]` at levels `[b]`."""


class NetworkDenoiser(Placed):
    """A denoiser that wraps an EGNN: its parts."""

    features: AtomFeatures
    process: Process
    network: EGNN
    conditions: int

    def spread_context(self, context: Tensor | None, h: Tensor) -> list[Tensor]:
        """Scaled conditions `[b, k]` at every atom of `h` `[b, n, c]`; nothing where the model has none."""
        found = 0 if context is None else context.shape[-1]
        if found != self.conditions:
            raise ConfigError(f"the model takes {self.conditions} conditions, but was told {found}.")
        return [] if context is None else [context[:, None].to(h.dtype).expand(-1, h.shape[1], -1)]


class DataDenoiser(NetworkDenoiser):
    """Data prediction with the preconditioning of Karras et al. (arXiv 2206.00364), for unit-variance positions.

    x_hat = c_skip z + c_out F(c_in z, s): F is trained towards a target of unit variance at every noise level.
    The element posterior is Bayes' rule: the Gaussian likelihood of the atom's own noisy one-hot, which is known
    exactly, times a prior that the network reads from the rest of the molecule.

    With self-conditioning (Chen et al., arXiv 2208.04202) it also sees its estimate of the call before: the elements
    as features of every atom, the distances as features of every pair; zeros where there is none.
    """

    frequencies: Tensor

    def __init__(
        self,
        features: AtomFeatures,
        process: Process,
        network: EGNN,
        time_pairs: int = 32,
        conditions: int = 0,
        *,
        self_conditioned: bool = False,
    ) -> None:
        super().__init__()
        if features.charge_scale is not None:
            raise ConfigError("data prediction reads elements from logits and takes no charge channel.")
        twice = 1 + self_conditioned
        wanted = (twice * features.channels + 2 * time_pairs + conditions, features.channels)
        if (network.config.inputs, network.config.outputs) != wanted:
            raise ConfigError(
                f"the network has {network.config.inputs} inputs and {network.config.outputs} outputs, "
                f"but {wanted[0]} and {wanted[1]} are needed for these features and time pairs."
            )
        if network.config.edge_inputs != network.describe.out * self_conditioned:
            raise ConfigError(
                "the network's edge_inputs must be those of self-conditioning, or 0 without it."
            )
        self.features, self.process, self.network, self.conditions = features, process, network, conditions
        self.self_conditioned = self_conditioned
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), time_pairs)), persistent=False
        )

    def weight(self, level: Tensor) -> Tensor:
        """Loss weight of squared position errors: 1 / c_out^2."""
        return (1 + level.square()) / level.square()

    def time_features(self, level: Tensor) -> Tensor:
        """Sines and cosines of the scaled log noise level: `[b]` to `[b, 2 * time_pairs]`."""
        angle = self.process.network_time(level)[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], -1)

    def before(
        self, h: Tensor, pairs: Pairs, previous: Denoised | None, known: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features of atoms and pairs that say what was estimated before; zeros where it is not known."""
        if previous is None:
            description = self.network.look(h.new_zeros(*h.shape[:-1], 3), pairs)[1]
            return torch.zeros_like(h), torch.zeros_like(description)
        description = self.network.look(previous.x.to(h.dtype) * self.features.coordinate_scale, pairs)[1]
        elements = previous.h.to(h.dtype) / self.features.type_scale
        if known is None:
            return elements, description
        told = known.to(h.dtype)[:, None, None]
        return elements * told, description * told

    def forward(
        self,
        x: Tensor,
        h: Tensor,
        level: Tensor,
        pairs: Pairs | None = None,
        context: Tensor | None = None,
        previous: Denoised | None = None,
        known: Tensor | None = None,
    ) -> Denoised:
        """Noisy positions `[b, n, 3]` (centered), features `[b, n, c]`, levels `[b]`, scaled conditions `[b, k]`. Of
        `previous`, the estimate before, a network without self-conditioning takes no notice; `known` `[b]` says for
        which molecules it may be seen (by default all).
        """
        s, a = levels(level), self.features.type_scale
        c_in = torch.rsqrt(1 + s.square())
        time = self.time_features(level)[:, None, :].expand(-1, x.shape[1], -1)
        # One-hot channels of height a have a standard deviation of about 0.4 a.
        inputs = [h * torch.rsqrt((0.4 * a) ** 2 + s.square()), time, *self.spread_context(context, h)]
        position = x * c_in * self.features.coordinate_scale
        edges = None
        if self.self_conditioned:
            pairs = self.network.pairs_of(x) if pairs is None else pairs
            elements, edges = self.before(h, pairs, previous, known)
            inputs.append(elements)
        prior, moved = self.network(torch.cat(inputs, -1), position, pairs, edges=edges)
        target = remove_mean(moved - position) / self.features.coordinate_scale
        logits = prior + h * (a / s.square())
        return Denoised(x * c_in.square() + target * (s * c_in), logits.softmax(-1) * a, logits)


class NoiseDenoiser(NetworkDenoiser):
    """The published parametrization: the network predicts the noise of positions and features (EDM, section 3.2)."""

    def __init__(
        self, features: AtomFeatures, process: Tabulated | LearnedGamma, network: EGNN, conditions: int = 0
    ) -> None:
        super().__init__()
        wanted = features.channels + 1 + conditions
        if network.config.inputs != wanted or network.config.outputs != wanted:
            raise ConfigError(
                f"the network must have {wanted} inputs and outputs (features, time and conditions), "
                f"but has {network.config.inputs} and {network.config.outputs}."
            )
        self.features, self.network, self.conditions = features, network, conditions
        self.schedule = process

    @property
    def process(self) -> Tabulated:  # type: ignore[override]
        """The table of noise levels; of a learned schedule, as it is now."""
        return self.schedule if isinstance(self.schedule, Tabulated) else self.schedule.tabulate()

    def gamma(self, step: Tensor) -> Tensor:
        """gamma at whole steps `[b]` of 0..T, differentiable where it is learned."""
        if isinstance(self.schedule, Tabulated):
            return self.schedule.gamma.to(step.device)[step]
        found: Tensor = self.schedule(step / self.schedule.steps)
        return found

    def weight(self, level: Tensor) -> Tensor:
        """Loss weight of squared errors: 1 / s^2, which makes it the error of the noise."""
        return 1 / level.square()

    def noise(
        self,
        z_x: Tensor,
        z_h: Tensor,
        time: Tensor,
        pairs: Pairs | None = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predicted noise for z_t at times `[b]` in 0..1, in the process's own (variance-preserving) frame."""
        t = levels(time).to(z_h.dtype).expand(-1, z_h.shape[1], 1)
        h, moved = self.network(torch.cat([z_h, t, *self.spread_context(context, z_h)], -1), z_x, pairs)
        return remove_mean(moved - z_x), h[..., : self.features.channels]

    def forward(
        self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None, context: Tensor | None = None
    ) -> Denoised:
        """Noisy positions and features in the variance-exploding frame at levels `[b]`."""
        s = levels(level)
        alpha = torch.rsqrt(1 + s.square())
        noise_x, noise_h = self.noise(x * alpha, h * alpha, self.process.network_time(level), pairs, context)
        return Denoised(x - s * noise_x, h - s * noise_h, None)


def assemble(
    features: AtomFeatures,
    process: VarianceExploding | Tabulated | LearnedGamma,
    network: EGNNConfig,
    parametrization: str,
    conditions: int = 0,
    *,
    self_conditioned: bool = False,
) -> DataDenoiser | NoiseDenoiser:
    """Join the parts; raises ConfigError naming the obstruction when they do not fit."""
    if parametrization == "data":
        if isinstance(process, LearnedGamma):
            raise ConfigError("a learned schedule is trained with the bound and needs noise prediction.")
        return DataDenoiser(
            features, process, EGNN(network), conditions=conditions, self_conditioned=self_conditioned
        )
    if self_conditioned:
        raise ConfigError("self-conditioning needs data prediction; set parametrization to data.")
    if parametrization == "noise":
        if isinstance(process, VarianceExploding):
            raise ConfigError(
                "noise prediction needs a variance-preserving process (polynomial, cosine, table, learned)."
            )
        return NoiseDenoiser(features, process, EGNN(network), conditions)
    raise ConfigError(f"parametrization is {parametrization!r}; choose 'data' or 'noise'.")
