"""Self-normalizing densities of descriptors and atom environments: the applicability domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from chemistry.descriptors import DESCRIPTORS, Described
from chemistry.reasons import Failure
from models.core.random import molecule_seed
from models.selfnorm.model import SelfNormFlow
from workers.adapters.base import Item
from workers.adapters.described import DescribedAdapter
from workers.schemas.selfnorm import SampleRequest, ScoreRequest

NUMERIC = [k for k, descriptor in enumerate(DESCRIPTORS) if descriptor.kind != "category"]


class Adapter(DescribedAdapter):
    """One density of vectors."""

    model: SelfNormFlow

    def score(
        self, found: Sequence[tuple[Item, Described]], request: ScoreRequest
    ) -> Iterator[dict[str, Any]]:
        vectors = [np.concatenate([described.row[NUMERIC], described.counts]) for _, described in found]
        rows = torch.from_numpy(np.stack(vectors)).float()
        for vector, score in zip(vectors, self.model.score(rows), strict=True):
            strangest = np.argsort(score.pull)[::-1][: request.columns]
            yield {
                "log_likelihood": score.log_prob,
                "standard_error": 0.0,
                "kind": "exact",
                "inverse_error": round(score.inverse_error, 5),
                "unusual": [
                    {
                        "column": self.model.names[k], "value": float(vector[k]),
                        "usual": round(float(self.model.center[k]), 3), "pull": round(score.pull[k], 3),
                    }
                    for k in strangest.tolist()
                ],
                **self.standing(score.log_prob),
            }  # fmt: skip

    def sample(self, item: Item, request: SampleRequest) -> dict[str, Any] | Failure:  # noqa: ARG002
        row = self.model.sample([molecule_seed(item.seed, item.index)])
        value = float(self.model.log_prob(row)[0])
        vector = {name: round(x, 4) for name, x in zip(self.model.names, row[0].tolist(), strict=True)}
        return {
            "smiles": None, "valid": True, "passed": True, "vector": vector, "log_likelihood": value,
            "kind": "exact", **self.standing(value),
        }  # fmt: skip
