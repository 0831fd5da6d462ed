"""Fingerprint densities: molecules in, exact log-probabilities and nearest real molecules out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from chemistry.guard import Guard
from chemistry.reasons import Failure
from models.core.errors import CheckpointError, ConfigError
from models.core.random import generator, molecule_seed
from models.ddf.model import FingerprintDDF
from models.weights import load_model
from workers.adapters.base import Item, Outcome, Row, StepProgress, Work
from workers.adapters.graph_records import Fingerprinted, read_fingerprints
from workers.adapters.molecules import failure_data, guarded, lost_row
from workers.cards import Card
from workers.problems import ModelUnavailable
from workers.schemas.base import JobRequest
from workers.schemas.ddf import SampleRequest, ScoreRequest

Bits = NDArray[np.uint8]


class Adapter:
    """One model of fingerprints on one device."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights; everything is computed in float64 on the CPU, where it takes microseconds."""
        del device
        if card is None or card.weights_path is None:
            raise ModelUnavailable("a fingerprint model needs a card with weights")
        try:
            model = load_model(card.model_dump(), card.weights_path)
        except (CheckpointError, ConfigError) as error:
            raise ModelUnavailable(f"model {card.id}: {error}", model=card.id) from error
        self.model = cast("FingerprintDDF", model.double())
        self._guard = Guard(timeout_seconds=20.0)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """Molecules are read later, in children."""
        return Work(capability, request, tuple(items))

    def run(
        self, work: Work, progress: Callable[[StepProgress], None], cancelled: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Draw, or read and score."""
        request = work.request
        if isinstance(request, SampleRequest):
            if cancelled():
                return
            sources = [generator(molecule_seed(item.seed, item.index)) for item in work.items]
            drawn = self.model.sample(request.fingerprint, sources).numpy().astype(np.uint8)
            for item, bits in zip(work.items, drawn, strict=True):
                yield Outcome(item, request, work.capability, bits)
            progress(StepProgress(1, 1))
            return
        read = guarded(self._guard, read_fingerprints, work.items, cancelled)
        for done, (item, found) in enumerate(read, 1):
            yield Outcome(item, request, work.capability, found)
            progress(StepProgress(done, len(work.items)))

    def encode(self, outcome: Outcome) -> Row:
        """The row of a fingerprint or of a molecule."""
        value, index = outcome.value, outcome.item.index
        if isinstance(value, Failure):
            return Row(index, failure_data(value))
        if isinstance(outcome.request, SampleRequest):
            return Row(index, self._sampled(outcome.request, value) | {"seed": outcome.item.seed})
        return Row(index, self._scored(cast("ScoreRequest", outcome.request), value))

    def lost(self, item: Item, code: str, message: str) -> Row:
        return lost_row(item, code, message)

    def close(self) -> None:
        self._guard.close()

    def _described(self, kind: str, bits: Bits, neighbours: int) -> dict[str, Any]:
        """What both capabilities say of a fingerprint."""
        log_prob = float(self.model.log_prob(kind, torch.from_numpy(bits)[None])[0])
        nearest = self.model.library.nearest(kind, bits, neighbours)
        return {
            "fingerprint": kind, "valid": True, "passed": True, "log_likelihood": log_prob, "kind": "exact",
            "bits_per_bit": -log_prob / math.log(2) / len(bits), "bits_on": int(bits.sum()),
            "percentile": self.model.percentile(kind, log_prob),
            "nearest": [{"smiles": one.smiles, "tanimoto": one.tanimoto} for one in nearest],
            "nearest_smiles": nearest[0].smiles if nearest else None,
            "nearest_tanimoto": nearest[0].tanimoto if nearest else None, "reasons": [],
        }  # fmt: skip

    def _sampled(self, request: SampleRequest, bits: Bits) -> dict[str, Any]:
        # MACCS keys are numbered from 1, Morgan bits from 0.
        first = int(request.fingerprint == "maccs")
        on = (np.flatnonzero(bits) + first).tolist()
        return {"smiles": None, "on": on} | self._described(request.fingerprint, bits, request.neighbours)

    def _scored(self, request: ScoreRequest, found: Fingerprinted) -> dict[str, Any]:
        kind = request.fingerprint
        bits = found.bits[kind]
        data = {"title": found.title, "smiles": found.smiles} | self._described(
            kind, bits, request.neighbours
        )
        cheap = self.model.cheap(kind, torch.from_numpy(bits)[None])
        data["baselines"] = {name: float(value[0]) for name, value in cheap.items()}
        data["in_domain"] = data["percentile"] >= request.domain_percentile
        if not data["in_domain"]:
            above = f"{100 - data['percentile']:.3g} per cent"
            message = f"the fingerprint is less likely than {above} of held-out molecules' fingerprints"
            data["reasons"] = [{"code": "outside-molecule", "message": message, "atoms": []}]
        return data
