"""Exact densities of fingerprints: one flow a kind, the cheap baselines, a library of real molecules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.core.errors import ConfigError
from models.core.random import generator
from models.ddf.baselines import Baselines
from models.ddf.fitting import FitOptions, Moving, next_layer
from models.ddf.flow import DiscreteFlow
from models.ddf.library import Library

QUANTILES = 1001
"""Points of the table of held-out log-probabilities that percentiles are read from."""


class FingerprintDDF(nn.Module):
    """Fingerprints of the kinds that `config` names, each a vector of bits with an exact log-probability."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != {"kinds", "library"}:
            raise ConfigError(
                f"fingerprints: the configuration has {sorted(config)}, needs kinds and library."
            )
        self.flows = nn.ModuleDict({k: DiscreteFlow(flow) for k, flow in config["kinds"].items()})
        widths = {kind: flow.dimensions for kind, flow in self.items()}
        self.baselines = nn.ModuleDict({kind: Baselines(width) for kind, width in widths.items()})
        self.library = Library(config["library"]["molecules"], config["library"]["text"], widths)
        for kind in self.flows:
            self.register_buffer(f"quantiles_{kind}", torch.zeros(QUANTILES, dtype=torch.float64))

    @property
    def config(self) -> dict[str, Any]:
        """What the constructor needs; training adds layers and the library to it."""
        return {"kinds": {kind: flow.config for kind, flow in self.items()}, "library": self.library.config}

    @staticmethod
    def config_for(recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """A model without layers for the widths of the data; the recipe gives the networks' `width` and `depth`."""
        flow = {"classes": 2, "layers": [], "width": recipe["width"], "depth": recipe["depth"]}
        return {
            "kinds": {kind: flow | {"dimensions": bits.shape[1]} for kind, bits in data.bits.items()},
            "library": {"molecules": 0, "text": 0},
        }

    def grow(
        self,
        train: Any,
        valid: Any,
        options: Mapping[str, Any],
        *,
        seed: int,
        done: int,
        state: Mapping[str, Tensor] | None,
        grown: Mapping[str, Any] | None,
    ) -> Iterator[dict[str, float]]:
        """Propose the layers that `options` lists for each kind (`models.training.greedy`)."""
        settings = {name: value for name, value in options.items() if name not in self.flows}
        strange = set(settings) - {field.name for field in fields(FitOptions)}
        if strange:
            raise ConfigError(f"fingerprints: unknown options {sorted(strange)}.")
        if state is not None and grown is not None:
            for kind in list(self.flows):
                self.flows[kind] = DiscreteFlow(grown["kinds"][kind])
            self.load_state_dict(state)
        number = 0
        for kind in list(self.flows):
            flow, proposals = self.flow(kind), list(options.get(kind, []))
            skip = min(max(done - number, 0), len(proposals))
            number += skip
            if skip == len(proposals):
                continue
            moving = Moving.start(torch.from_numpy(train.bits[kind]))
            seen = Moving.start(torch.from_numpy(valid.bits[kind]))
            for layer in flow.layers:
                moving, seen = moving.through(layer), seen.through(layer)  # type: ignore[arg-type]
            for proposal in proposals[skip:]:
                source = generator(seed, f"{kind} {number}")
                record, moving, seen = next_layer(
                    flow, proposal, moving, seen, FitOptions(**settings), source
                )
                number += 1
                yield {
                    "before": record.before, "after": record.after, "kept": float(record.kept),
                    "molecules": len(train) * settings.get("epochs", FitOptions.epochs),
                }  # fmt: skip

    def items(self) -> Iterator[tuple[str, DiscreteFlow]]:
        """Kinds and their flows."""
        for kind, flow in self.flows.items():
            if isinstance(flow, DiscreteFlow):
                yield kind, flow

    def flow(self, kind: str) -> DiscreteFlow:
        """The flow of a kind. Raises ConfigError for an unknown one."""
        found = dict(self.items()).get(kind)
        if found is None:
            raise ConfigError(f"fingerprint is {kind!r}; this model knows {', '.join(self.flows)}.")
        return found

    def log_prob(self, kind: str, bits: Tensor) -> Tensor:
        """Exact log p in nats `[b]` of bits `[b, d]`."""
        return self.flow(kind).log_prob(bits)

    def cheap(self, kind: str, bits: Tensor) -> dict[str, Tensor]:
        """log p `[b]` of the same bits under independent bits and under the Chow-Liu tree."""
        found: Any = self.baselines[kind]
        return {"bernoulli": found.bernoulli(bits), "chow_liu": found.chow_liu(bits)}

    def percentile(self, kind: str, log_prob: float) -> float:
        """Per cent of held-out molecules that are less likely."""
        table: NDArray[np.float64] = self.get_buffer(f"quantiles_{kind}").double().numpy()
        return 100.0 * float(np.searchsorted(table, log_prob) / len(table))

    def sample(self, kind: str, sources: Sequence[torch.Generator]) -> Tensor:
        """One fingerprint per generator, `[len(sources), d]`."""
        return self.flow(kind).sample(sources)
