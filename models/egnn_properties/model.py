"""Properties of a molecule: an EGNN whose nodes stay, a readout, and a cheap model to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.core.placed import Placed
from models.egnn.config import EGNNConfig
from models.egnn.network import EGNN
from models.egnn.pairs import Pairs
from models.egnn_properties.baseline import Component, centered_on_charge, cheap_features
from models.egnn_properties.composition import COMPONENTS, PROPERTIES, composition, difference
from models.egnn_properties.domain import Domain
from models.egnn_properties.pooling import DensePool, Pool
from models.egnn_properties.readout import PhysicalReadout, PublishedReadout

KNOWN = {"elements", "properties", "components", "readout", "input", "network"}


class Predicted(NamedTuple):
    """Values `[b, properties]` in their units, predicted error scales of the same shape, and the features."""

    values: Tensor
    scales: Tensor
    components: Tensor  # [b, components]
    atoms: Tensor  # [..., width]
    molecules: Tensor  # [b, 2 * width]


class PropertyEGNN(Placed):
    """Predicts properties from atomic numbers and positions, the same for a rotated, reflected, moved or
    relabeled molecule.
    """

    matrix: Tensor
    cheap: Tensor
    scale: Tensor
    unit: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(
                f"properties: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}."
            )
        self.config = dict(config)
        self.elements = tuple(int(number) for number in config["elements"])
        self.properties = tuple(config["properties"])
        parts = {name: Component.from_dict(values) for name, values in config["components"].items()}
        self.components = tuple(parts)
        self.powers = {"elements": 1, "powers": 3}.get(config["input"], 0)
        if not self.powers:
            raise ConfigError(f"properties: input is {config['input']!r}; choose 'elements' or 'powers'.")
        network = EGNNConfig.from_dict({"inputs": self.powers * len(self.elements), **config["network"]})
        if network.moves or network.outputs != network.width:
            raise ConfigError("properties: the network needs moves = false and as many outputs as its width.")
        self.network = EGNN(network)
        width = network.width
        if config["readout"] == "physical":
            self.readout: PhysicalReadout | PublishedReadout = PhysicalReadout(width, self.components)
        elif config["readout"] == "published" and len(parts) == 1:
            self.readout = PublishedReadout(width)
        else:
            raise ConfigError("properties: readout is 'physical', or 'published' for a single property.")
        self.error_hidden = nn.Linear(2 * width + 1, 64)
        self.error_last = nn.Linear(64, len(self.properties))
        self.domain = Domain(width, len(self.elements))
        rows = list(parts.values())
        for name, values in (
            ("matrix", composition(self.properties, self.components)),
            ("cheap", [row.coefficients for row in rows]),
            ("scale", [row.scale for row in rows]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)
        # The scale of a property's error, from those of its components.
        self.register_buffer("unit", (self.matrix.square() @ self.scale.square()).sqrt(), persistent=False)

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration of a new model: the recipe's choices and the cheap model fitted to the data set."""
        network = {"moves": False, "outputs": recipe["network"]["width"], **recipe["network"]}
        return {
            "input": "elements", "readout": "physical", **recipe, "network": network,
            "elements": [int(number) for number in data.elements],
            "properties": list(PROPERTIES),
            "components": data.cheap_model(COMPONENTS),
        }  # fmt: skip

    def types(self, numbers: Tensor) -> Tensor:
        """Element index of each atomic number; one that the model does not know has -1."""
        table = torch.full((256,), -1, dtype=torch.long, device=numbers.device)
        table[list(self.elements)] = torch.arange(len(self.elements), device=numbers.device)
        return table[numbers]

    def encode(self, numbers: Tensor) -> Tensor:
        """Input features: one-hot elements, times (Z/9)^0, (Z/9)^1, (Z/9)^2 where published so (class-major)."""
        known = torch.tensor(self.elements, device=numbers.device)
        one_hot = (numbers[..., None] == known).to(self.dtype)
        if self.powers == 1:
            return one_hot
        charge = numbers[..., None].to(self.dtype) / max(self.elements)
        powers = torch.cat([charge**k for k in range(self.powers)], -1)
        return (one_hot[..., None] * powers[..., None, :]).flatten(-2)

    def forward(
        self, numbers: Tensor, x: Tensor, pairs: Pairs | None = None, pool: Pool | None = None
    ) -> Predicted:
        """Atomic numbers `[b, n]` and positions `[b, n, 3]` in Angstrom of a dense bucket (or `[nodes]` and
        `[nodes, 3]` with sparse pairs and pool) to predictions.
        """
        pool = DensePool() if pool is None else pool
        f, _ = self.network(self.encode(numbers), x, pairs)
        with torch.autocast(x.device.type, enabled=False):
            centered = centered_on_charge(numbers, x, pool)
            reading = self.readout(f.to(x.dtype), centered, pool)
            cheap = cheap_features(numbers, centered, self.elements, pool) @ self.cheap.to(x.dtype).T
            components = cheap + reading.values * self.scale.to(x.dtype)
            size = pool.total(torch.ones_like(x[..., :1]))
            seen = torch.cat([reading.molecules, size / 10], -1).detach()
            spread = self.error_last(nn.functional.silu(self.error_hidden(seen)))
            return Predicted(
                components @ self.matrix.to(x.dtype).T,
                self.unit.to(x.dtype) * torch.exp(spread.clamp(-8, 4)),
                components, reading.atoms, reading.molecules,
            )  # fmt: skip

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Weighted absolute errors, each over its component's scale, and the likelihood of their predicted size.

        batch: torch-geometric, b molecules of one size with `z`, `pos` (Angstrom) and `y` `[b, properties]`.
        options: weights of components and of properties, 1 where not named.
        """
        b = batch.num_graphs
        found = self(batch.z.view(b, -1), batch.pos.view(b, -1, 3))
        wanted = batch.y.view(b, -1)
        errors = (found.values - wanted).abs()
        total = torch.zeros_like(wanted[:, 0])
        for name, error, unit in self.learned(found.values - wanted):
            total = total + options.get(name, 1.0) * error.abs() / unit.to(error.dtype)
        # Laplace likelihood of the errors as they are: it teaches the scales and leaves the values alone.
        surprise = (errors.detach() / found.scales + found.scales.log()).mean(-1)
        named = {name: errors[:, k] for k, name in enumerate(self.properties)}
        return {"loss": total + 0.1 * surprise, **named}

    def learned(self, errors: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """What is learned, with its signed error `[b]` and its scale: components that are not fixed, and the gap."""
        place = {name: k for k, name in enumerate(self.properties)}
        for k, component in enumerate(self.components):
            terms = difference(component)
            if float(self.scale[k]) > 0 and set(terms) <= set(place):
                error = sum(sign * errors[:, place[part]] for part, sign in terms.items())
                yield component, cast("Tensor", error), self.scale[k]
        if "gap" in place and "gap" not in self.components:
            yield "gap", errors[:, place["gap"]], self.unit[place["gap"]]
