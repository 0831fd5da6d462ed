"""Rows of descriptors: rounding for counts, argmax for categories, one autoregressive spline over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.core.likelihood import Likelihood
from models.core.random import generator
from models.survae.bijections import Affine, FromZuko, Positive, autoregressive
from models.survae.conditionals import StandardNormal
from models.survae.contract import Layer, Noise, Parts, Stack
from models.survae.flow import SurVAE
from models.survae.surjections import Argmax, Round

BOUND = 6.0
"""The splines act between -6 and 6 standard deviations; beyond, tails are normal."""


@dataclass(frozen=True)
class Column:
    """One descriptor: `mean` and `scale` of its latent number, `low` and `high` of the training data.

    kind: continuous, count or category; a category's values are indices into `categories`.
    """

    name: str
    kind: str
    low: float
    high: float
    mean: float = 0.0
    scale: float = 1.0
    resolution: float = 1.0
    unit: str = ""
    meaning: str = ""
    categories: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """A column of a configuration. Raises ConfigError for unknown or missing entries."""
        try:
            return cls(**{**values, "categories": tuple(values.get("categories", ()))})
        except TypeError as error:
            raise ConfigError(f"descriptors: a column of the configuration does not fit: {error}") from error


class DescriptorFlow(nn.Module):
    """log p of a row: a density in the continuous columns, a mass in counts and categories; hence a lower bound."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != {"columns", "hidden", "bins"}:
            raise ConfigError(
                f"descriptors: the configuration has {sorted(config)}; wanted bins, columns, hidden."
            )
        self.config = dict(config)
        self.columns = tuple(Column.from_dict(values) for values in config["columns"])
        order = ["continuous", "count", "category"]
        if [c.kind for c in self.columns] != sorted((c.kind for c in self.columns), key=order.index):
            raise ConfigError("descriptors: columns must come as continuous ones, counts, categories.")
        parts: list[Layer] = []
        widths: list[int] = []
        numbers = [c for c in self.columns if c.kind == "continuous"]
        counts = [c for c in self.columns if c.kind == "count"]
        categories = [c for c in self.columns if c.kind == "category"]
        if numbers:
            parts.append(Stack([_standard(numbers)]))
            widths.append(len(numbers))
        if counts:
            parts.append(Stack([Round("counts"), Positive(), _standard(counts)], takes="counts"))
            widths.append(len(counts))
        columns = [*widths, *[1 for _ in categories]]
        parts += [Argmax(len(c.categories)) for c in categories]
        latent = [*widths, *[len(c.categories) for c in categories]]
        size = sum(latent)
        spline = autoregressive(
            size, 0, config["hidden"], bins=int(config["bins"]), bound=BOUND, activation=nn.SiLU
        )
        self.flow = SurVAE([Parts(parts, columns, latent), spline], StandardNormal(), (size,))

    @classmethod
    def config_for(cls, recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration for a recipe and a data set that knows its columns."""
        return {"columns": data.columns(), "hidden": list(recipe["hidden"]), "bins": recipe["bins"]}

    @property
    def parts(self) -> Parts:
        """From a row to its latent numbers."""
        return cast("Parts", self.flow.stack.layers[0])

    @property
    def spline(self) -> FromZuko:
        """From the latent numbers to standard normal ones."""
        return cast("FromZuko", self.flow.stack.layers[1])

    @property
    def names(self) -> list[str]:
        """The descriptors in the order of a row."""
        return [column.name for column in self.columns]

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """One draw of the negative bound of rows `batch.rows` `[b, columns]`, continuous values spread evenly over
        their resolution so that repeated values make no spikes.
        """
        x = batch.rows
        spread = torch.tensor(
            [c.resolution if c.kind == "continuous" else 0.0 for c in self.columns], dtype=x.dtype
        )
        x = x + spread * (torch.rand(x.shape, generator=generator) - 0.5)
        with torch.autocast(x.device.type, enabled=False):  # splines need their digits
            return {"loss": -self.flow.once(x, Noise(generator))}

    @torch.inference_mode()
    def elbo(self, rows: Tensor, seeds: Sequence[int], draws: int = 16) -> list[Likelihood]:
        """Importance-weighted bounds of log p of rows `[b, columns]` in nats; row i draws from its own seed."""
        if rows.dim() != 2 or rows.shape[1] != len(self.columns):
            raise ShapeError("rows", rows.shape, f"[b, {len(self.columns)}]")
        x = rows.to(next(self.parameters()).dtype)
        noise = Noise([generator(seed, "score") for seed in seeds])
        value, error = self.flow.elbo(x, noise, draws)
        return [
            Likelihood(v, e, "lower_bound", draws)
            for v, e in zip(value.double().tolist(), error.double().tolist(), strict=True)
        ]


def _standard(columns: Sequence[Column]) -> Affine:
    return Affine([c.mean for c in columns], [c.scale for c in columns])
