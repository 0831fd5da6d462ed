"""The E-NF: dequantizer, scales, vector field and size distribution joined into one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.core.placed import Placed
from models.edm.features import AtomFeatures
from models.edm.sampling import Sample
from models.edm.sizes import SizeDistribution
from models.egnn.config import EGNNConfig
from models.enf.actnorm import ActNorm
from models.enf.dequantize import ArgmaxDequantizer, GaussianDequantizer
from models.enf.field import VectorField
from models.enf.likelihood import Quadrature, log_prob
from models.enf.loss import loss_of_bucket
from models.enf.molecules import MoleculeField
from models.enf.sampling import sample

TIME_PAIRS = 16
KNOWN = {
    "elements": None, "sizes": None, "network": None, "kind": "molecule", "coordinate_scale": 1.7, "type_scale": 0.25,
    "type_spread": 0.03125, "charges": False, "dequantizer": None, "jacobian": "corrected",
}  # fmt: skip
"""Settings of the configuration and their defaults (None: must be given, or belongs to one kind only).

coordinate_scale: Angstrom that make a position of size 1. type_scale, type_spread: height of an element's one-hot and
the standard deviation of its dequantization (kind "molecule"). charges: a channel for the atomic number; dequantizer:
settings of the network that dequantizes; jacobian: how the scale of positions is counted (kind "published").
"""


class ENF(Placed):
    """An exact-density flow over 3D molecules of any size that its size distribution knows.

    kind: "molecule", our field with Gaussian dequantization, or "published" with the argmax-variational one.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        unknown = sorted(set(config) - set(KNOWN))
        missing = sorted({"elements", "sizes", "network"} - set(config))
        if unknown or missing:
            raise ConfigError(
                f"E-NF: unknown settings {unknown}, missing {missing}; known are {sorted(KNOWN)}."
            )
        self.config = dict(config)
        s = {**KNOWN, **config}
        self.features = AtomFeatures(
            elements=tuple(int(number) for number in s["elements"]), coordinate_scale=1.0, type_scale=1.0,
            charge_scale=1.0 if s["charges"] else None,
        )  # fmt: skip
        self.sizes = SizeDistribution({int(n): int(count) for n, count in s["sizes"].items()})
        channels = self.features.channels
        self.dequantizer: GaussianDequantizer | ArgmaxDequantizer
        self.field: VectorField
        if s["kind"] == "molecule":
            network = {"inputs": channels + 2 * TIME_PAIRS, "outputs": channels + 1, **s["network"]}
            scale, spread, position = s["type_scale"], s["type_spread"], s["coordinate_scale"]
            if s["charges"]:
                raise ConfigError(
                    "E-NF: the kind 'molecule' takes charges from the elements and has no channel for them."
                )
            self.dequantizer = GaussianDequantizer(self.features, scale, spread)
            self.field = MoleculeField(
                EGNNConfig.from_dict(network), channels, scale=scale, spread=spread, position_scale=position,
                time_pairs=TIME_PAIRS,
            )  # fmt: skip
        elif s["kind"] == "published":
            network = {"inputs": channels + 1, "outputs": channels + 1, **s["network"]}
            if s["dequantizer"] is None:
                raise ConfigError("E-NF: the kind 'published' needs the network settings 'dequantizer'.")
            own = {"inputs": channels, "outputs": 2 * channels, **s["dequantizer"]}
            self.dequantizer = ArgmaxDequantizer(self.features, EGNNConfig.from_dict(own))
            self.field = VectorField(EGNNConfig.from_dict(network), channels)
        else:
            raise ConfigError(f"E-NF: kind is {s['kind']!r}; choose 'molecule' or 'published'.")
        self.actnorm = ActNorm(channels, scale=s["coordinate_scale"], jacobian=s["jacobian"])
        if s["kind"] == "molecule":
            self.actnorm.requires_grad_(False)  # the field knows where one-hots and their noise are

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's choices, the data set's elements and sizes."""
        return {
            **recipe,
            "elements": [int(number) for number in data.elements],
            "sizes": {str(n): int(count) for n, count in data.size_histogram().items()},
        }

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.features.elements

    @property
    def quadrature(self) -> Quadrature:
        """How the exact trace is integrated unless said otherwise; published fields have no scale to refine at."""
        return Quadrature() if isinstance(self.field, MoleculeField) else Quadrature(32, 2, 10.0)

    @property
    def solver(self) -> Solver:
        """How Hutchinson's estimate and samples are integrated unless said otherwise."""
        return Solver(tolerance=1e-4)

    def sample(self, sizes: Sequence[int], seeds: Sequence[int], **options: Any) -> list[Sample]:
        """One molecule per size and seed; see `models.enf.sampling.sample` for the options."""
        return sample(self, sizes, seeds, **options)

    def log_prob(
        self, numbers: Sequence[Any], positions: Sequence[Any], seeds: Sequence[int], **options: Any
    ) -> list[Likelihood]:
        """Lower bounds on log p, one per molecule; see `models.enf.likelihood.log_prob` for the options."""
        return log_prob(self, numbers, positions, seeds, **options)

    def unsupported(self, numbers: Sequence[int]) -> list[int]:
        """Atomic numbers in `numbers` that the model does not know, sorted."""
        return sorted(set(int(number) for number in numbers) - set(self.elements))

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses of a size bucket, each `[b]`; `options` are those of `models.enf.loss`."""
        b = batch.num_graphs
        return loss_of_bucket(
            self, batch.z.view(b, -1), remove_mean(batch.pos.view(b, -1, 3)), options, generator
        )
