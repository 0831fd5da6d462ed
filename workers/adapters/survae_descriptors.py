"""SurVAE flows of descriptor rows: bounds with percentiles, rows under conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from chemistry.descriptors import Described
from chemistry.reasons import Failure
from models.core.errors import DivergedError
from models.core.random import molecule_seed
from models.survae_descriptors.conditional import Conditions, draw
from models.survae_descriptors.model import DescriptorFlow
from workers.adapters.base import Item
from workers.adapters.described import DescribedAdapter
from workers.schemas.survae_descriptors import Condition, SampleRequest, ScoreRequest


class Adapter(DescribedAdapter):
    """One density of rows."""

    model: DescriptorFlow

    def score(
        self, found: Sequence[tuple[Item, Described]], request: ScoreRequest
    ) -> Iterator[dict[str, Any]]:
        rows = torch.from_numpy(np.stack([described.row for _, described in found])).float()
        seeds = [molecule_seed(item.seed, item.index) for item, _ in found]
        for row, likelihood in zip(rows, self.model.elbo(rows, seeds, request.draws), strict=True):
            yield {
                "descriptors": self.named(row),
                "log_likelihood": likelihood.value,
                "standard_error": likelihood.standard_error,
                "kind": likelihood.kind,
                "draws": likelihood.draws,
                **self.standing(likelihood.value),
            }

    def sample(self, item: Item, request: SampleRequest) -> dict[str, Any] | Failure:
        conditions = self.conditions(request)
        try:
            drawn = draw(self.model, conditions, molecule_seed(item.seed, item.index), request.particles)
        except DivergedError as error:
            return Failure.because("diverged", str(error))
        data: dict[str, Any] = {
            "smiles": None, "valid": True, "passed": True, "descriptors": self.named(drawn.row), "reasons": []
        }  # fmt: skip
        if conditions:
            data |= {"log_evidence": drawn.log_evidence, "effective_sample_size": round(drawn.effective, 2)}
        return data

    def named(self, row: torch.Tensor) -> dict[str, Any]:
        """Values by the descriptors' names; counts as whole numbers, categories by name."""
        out: dict[str, Any] = {}
        for column, value in zip(self.model.columns, row.tolist(), strict=True):
            if column.kind == "category":
                out[column.name] = column.categories[int(value)]
            else:
                out[column.name] = int(value) if column.kind == "count" else round(value, 4)
        return out

    def conditions(self, request: SampleRequest) -> Conditions:
        """The request's conditions as intervals and categories."""
        intervals: dict[str, tuple[float, float]] = {}
        categories: dict[str, int] = {}
        known = {column.name: column for column in self.model.columns}
        for name, wanted in request.conditions.items():
            if isinstance(wanted, str):
                categories[name] = known[name].categories.index(wanted)
            elif isinstance(wanted, Condition):
                intervals[name] = (
                    -np.inf if wanted.low is None else wanted.low,
                    np.inf if wanted.high is None else wanted.high,
                )
            else:
                intervals[name] = (wanted, wanted)
        return Conditions(intervals, categories)
