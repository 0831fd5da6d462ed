"""Log-density of a molecule's bond lengths given what kinds of bonds it has: the sort surjection, then hazards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.core.likelihood import Likelihood
from models.survae.contract import Noise
from models.survae.flow import SurVAE
from models.survae.sets import Hazards, SortWithin, StandardExponential
from models.survae_conformers.network import BondNetwork

KNOWN = {"kinds", "width", "components", "noise"}


@dataclass(frozen=True)
class BondKind:
    """Elements by ascending atomic number, bond order, in a ring or not; lengths in Angstrom of the training data."""

    elements: tuple[int, int]
    order: float
    ring: bool
    mean: float
    scale: float
    low: float
    high: float
    count: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BondKind:
        """A kind of a configuration. Raises ConfigError for unknown or missing entries."""
        try:
            return cls(**{**values, "elements": tuple(values["elements"])})
        except (TypeError, KeyError) as error:
            raise ConfigError(f"bond lengths: a kind of the configuration does not fit: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """As a configuration has it."""
        return {**asdict(self), "elements": list(self.elements)}

    @property
    def key(self) -> tuple[int, int, float, bool]:
        """What tells kinds apart."""
        return (*self.elements, self.order, self.ring)


class BondLengthFlow(nn.Module):
    """log p(x_1 ... x_n | kinds of the bonds) in nats, x in Angstrom: a density over R_+^n for every n, unchanged
    when bonds are listed in another order. Exact.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(
                f"bond lengths: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}."
            )
        self.config = dict(config)
        self.kinds = tuple(BondKind.from_dict(values) for values in config["kinds"])
        self.index = {kind.key: number for number, kind in enumerate(self.kinds)}
        self.noise = float(config["noise"])
        network = BondNetwork(
            [kind.mean for kind in self.kinds],
            [kind.scale for kind in self.kinds],
            int(config["width"]),
            int(config["components"]),
            smallest=self.noise / 4,
        )
        self.flow = SurVAE(
            [SortWithin(), Hazards(network)],
            StandardExponential(),
            (),
            takes="positive",
            base_fills="positive",
        )

    @classmethod
    def config_for(cls, recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration for a recipe and a data set that knows its kinds."""
        return {**recipe, "kinds": data.kinds()}

    def log_prob(self, lengths: Tensor, kinds: Tensor) -> Tensor:
        """Exact log-density `[b]` of lengths `[b, n]` in Angstrom with their kinds `[b, n]`, in any common order."""
        if lengths.shape != kinds.shape or lengths.dim() != 2 or not lengths.shape[1]:
            raise ShapeError(
                "lengths", lengths.shape, f"[b, n] with n > 0, as the kinds {tuple(kinds.shape)},"
            )
        order = kinds.argsort(dim=1, stable=True)
        return self.flow.log_prob(lengths.gather(1, order), kinds.gather(1, order))

    def loss(
        self,
        batch: Any,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Negative log-likelihood in nats a bond, of lengths blurred by normal noise of the width `noise`.

        Bonds that symmetry makes equal would otherwise have a density without bound.
        """
        x = batch.lengths.float()
        x = x + self.noise * torch.randn(x.shape, generator=generator)
        with torch.autocast(x.device.type, enabled=False):
            return {"loss": -self.log_prob(x, batch.kinds) / x.shape[1]}

    @torch.inference_mode()
    def score(self, lengths: Sequence[float], kinds: Sequence[int]) -> Likelihood:
        """The exact log-likelihood of one molecule's lengths."""
        x = torch.tensor([list(lengths)], dtype=torch.float64)
        value = float(self.log_prob(x, torch.tensor([list(kinds)]))[0])
        return Likelihood(value, 0.0, self.flow.kind, 0)

    @torch.inference_mode()
    def sample(self, kinds: Tensor, noise: Noise) -> Tensor:
        """Lengths `[b, n]` in Angstrom of bonds of the given kinds `[b, n]`, in their order."""
        order = kinds.argsort(dim=1, stable=True)
        sorted_kinds = kinds.gather(1, order)
        like = torch.zeros(kinds.shape, dtype=torch.float64)
        z = self.flow.base.sample(like, kinds.shape[1:], noise)  # type: ignore[operator]
        x = self.flow.stack.inverse(z, sorted_kinds, noise)
        return torch.zeros_like(x).scatter(1, order, x)
