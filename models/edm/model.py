"""The EDM: features, noise process, denoiser and size distribution joined into one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.core.likelihood import Likelihood
from models.core.placed import Placed
from models.edm.bound import bound
from models.edm.bound_loss import bound_loss
from models.edm.context import Condition, Context, scaled
from models.edm.denoiser import DataDenoiser, Denoiser, NoiseDenoiser, assemble
from models.edm.features import AtomFeatures
from models.edm.flow import probability_flow_log_prob
from models.edm.guidance import GuidedDenoiser
from models.edm.loss import LossOptions, denoising_loss
from models.edm.sampling import SamplingRun
from models.edm.schedules import process_from_dict
from models.edm.sizes import SizeDistribution
from models.egnn.config import EGNNConfig

TIME_PAIRS = 32


class EDM(Placed):
    """A diffusion over 3D molecules of any size that its size distribution knows."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        known = {
            "elements",
            "coordinate_scale",
            "type_scale",
            "charge_scale",
            "process",
            "parametrization",
            "network",
            "guide",
            "sizes",
            "context",
            "last_element",
            "self_conditioning",
        }
        unknown = sorted(set(config) - known)
        if unknown:
            raise ConfigError(f"EDM: unknown settings {unknown}; known are {sorted(known)}.")
        missing = sorted({"elements", "sizes", "process", "network"} - set(config))
        if missing:
            raise ConfigError(f"EDM: the configuration lacks {missing}.")
        self.config = dict(config)
        self.features = AtomFeatures(
            elements=tuple(int(number) for number in config["elements"]),
            coordinate_scale=config.get("coordinate_scale", 1.7),
            type_scale=config.get("type_scale", 0.25),
            charge_scale=config.get("charge_scale"),
            last_element=config.get("last_element", True),
        )
        self.conditions = tuple(Condition.from_dict(values) for values in config.get("context", ()))
        if self.conditions and "guide" in config:
            raise ConfigError("EDM: a model with conditions takes no guide yet; leave one of the two out.")
        self.sizes = SizeDistribution({int(n): int(count) for n, count in config["sizes"].items()})
        parametrization = config.get("parametrization", "data")
        self.denoiser = self._assemble(
            config["network"], parametrization, self_conditioned=bool(config.get("self_conditioning", False))
        )
        self.guide = self._assemble(config["guide"], parametrization) if "guide" in config else None

    def _assemble(
        self, network: Mapping[str, Any], parametrization: str, *, self_conditioned: bool = False
    ) -> DataDenoiser | NoiseDenoiser:
        """A denoiser of this model's features and process; `network` are the settings that the recipe chose."""
        channels = self.features.channels
        told = len(self.conditions)
        time = 2 * TIME_PAIRS if parametrization == "data" else 1
        inputs = channels + time + told
        outputs = channels if parametrization == "data" else inputs
        complete = EGNNConfig.from_dict({"inputs": inputs, "outputs": outputs, **network})
        if self_conditioned:
            seen = complete.radial + 1  # of a pair's distance
            complete = replace(complete, inputs=inputs + channels, edge_inputs=seen)
        process = process_from_dict(self.config["process"])
        return assemble(
            self.features, process, complete, parametrization, told, self_conditioned=self_conditioned
        )

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's choices, the data set's elements and sizes."""
        if "guide" in recipe:
            raise ConfigError(
                "a guide is a model of its own: train it apart, then join the two with "
                "`python -m models.training.guide MODEL GUIDE`."
            )
        return {
            **recipe,
            "elements": [int(number) for number in data.elements],
            "sizes": {str(n): int(count) for n, count in data.size_histogram().items()},
        }

    def added_inputs(self) -> dict[str, int]:
        """By name, the matrices whose last columns read the estimate before, and how many: a model without
        self-conditioning is this one with zeros there.
        """
        if not isinstance(self.denoiser, DataDenoiser) or not self.denoiser.self_conditioned:
            return {}
        seen = self.denoiser.network.config.edge_inputs
        edges = {name: seen for name, _ in self.named_parameters() if name.endswith(".edge.weight")}
        mine = {name: count for name, count in edges.items() if name.startswith("denoiser.")}
        return {"denoiser.network.embedding.weight": self.features.channels, **mine}

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.features.elements

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses of a size bucket, each `[b]`: `loss` is their weighted sum, the others are for the log.

        batch: torch-geometric, b molecules of one size with `z` and `pos` (in Angstrom).
        """
        if self.conditions:
            raise ConfigError("EDM: models with conditions are imported, not trained here yet.")
        chosen = LossOptions.from_dict(options)
        b = batch.num_graphs
        numbers, positions = batch.z.view(b, -1), batch.pos.view(b, -1, 3)
        if chosen.kind == "bound":
            diffusion, ends = bound_loss(self.denoiser, numbers, positions, generator=generator)
            return {"loss": diffusion + ends, "diffusion": diffusion, "ends": ends}
        position, element = denoising_loss(
            self.denoiser, numbers, positions, options=chosen, generator=generator
        )
        return {"loss": position + chosen.type_weight * element, "position": position, "element": element}

    def sampling(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        *,
        sampler: str = "stochastic",
        steps: int = 100,
        churn: float = 0.8,
        guidance: float = 0.0,
        context: Context | None = None,
    ) -> SamplingRun:
        """Start sampling one molecule per size and seed; at most `steps` network calls each.

        With `guidance` above 0 each is also a call of the guide. `context` has the conditions' values for each
        molecule. Raises ConfigError when the model has no guide, or other conditions.
        """
        denoiser: Denoiser = self.denoiser
        if guidance:
            if self.guide is None:
                raise ConfigError(f"guidance is {guidance}, but this model has no guide; leave it out.")
            denoiser = GuidedDenoiser(denoiser, self.guide, guidance)
        told = scaled(self.conditions, context, len(sizes))
        return SamplingRun(denoiser, sizes, seeds, sampler=sampler, steps=steps, churn=churn, context=told)

    def bound(
        self, numbers: Sequence[Any], positions: Sequence[Any], seeds: Sequence[int], *,
        context: Context | None = None, **options: Any,
    ) -> list[Likelihood]:  # fmt: skip
        """Variational lower bounds on log p, one per molecule; see `models.edm.bound.bound` for the options."""
        told = scaled(self.conditions, context, len(numbers))
        return bound(self.denoiser, self.sizes, numbers, positions, seeds, context=told, **options)

    def probability_flow_log_prob(
        self, numbers: Sequence[Any], positions: Sequence[Any], seeds: Sequence[int], *,
        context: Context | None = None, **options: Any,
    ) -> list[Likelihood]:  # fmt: skip
        """log p by the probability flow; see `models.edm.flow.probability_flow_log_prob` for the options."""
        told = scaled(self.conditions, context, len(numbers))
        return probability_flow_log_prob(
            self.denoiser, self.sizes, numbers, positions, seeds, context=told, **options
        )

    def cost(self, sizes: Sequence[int], steps: int) -> float:
        """Work of sampling in pair evaluations: steps times the pairs of atoms of all molecules."""
        return float(steps * sum(n * (n - 1) / 2 for n in sizes))

    def unsupported(self, numbers: Sequence[int]) -> list[int]:
        """Atomic numbers in `numbers` that the model does not know, sorted."""
        return sorted(set(int(number) for number in numbers) - set(self.elements))

    def network_config(self) -> dict[str, Any]:
        """The complete network settings, defaults included."""
        return asdict(self.denoiser.network.config)
