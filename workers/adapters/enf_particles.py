"""Flows of particle systems: draw configurations with their weights, score given ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.core.random import molecule_seed
from models.enf_particles.model import ParticleFlow
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.cards import Card
from workers.schemas.base import JobRequest
from workers.schemas.enf_particles import SampleRequest, ScoreRequest


class Found(NamedTuple):
    """One configuration `[n, d]` with what is known of it; None where it was not asked for."""

    positions: NDArray[np.float64]
    energy: float
    log_likelihood: float | None
    standard_error: float | None
    integration_error: float | None


class Adapter(FamilyAdapter):
    """One particle flow on one device."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights."""
        _, model = load_weights(card, device)
        self.model = cast("ParticleFlow", model)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """The configurations of these items as one tensor; nothing to read for samples."""
        if isinstance(request, ScoreRequest):
            given = [request.configurations[item.index] for item in items]
            return Work(capability, request, tuple(items), torch.tensor(given, dtype=torch.float64))
        return Work(capability, request, tuple(items))

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """All configurations of the shard at once."""
        calls, expected = 0, work.request.evaluations_per_item()

        def watch() -> None:
            nonlocal calls
            if cancelled():
                raise InterruptedError("the job was cancelled")
            calls += 1
            progress(StepProgress(calls, max(calls + 1, expected)))

        try:
            found = self._compute(work, watch)
        except InterruptedError:
            return
        progress(StepProgress(calls, calls))
        for item, one in zip(work.items, found, strict=True):
            yield Outcome(item, work.request, work.capability, one)

    def _compute(self, work: Work, watch: Callable[[], None]) -> list[Found]:
        seeds = [molecule_seed(item.seed, item.index) for item in work.items]
        request = work.request
        scores: list[Likelihood] | None
        if isinstance(request, ScoreRequest):
            x = work.content
            scores = self.model.log_prob(x, seeds, trace=request.method, draws=request.draws, watch=watch)
        else:
            request = cast("SampleRequest", request)
            solver = Solver("rk4", steps=request.steps, refine=0.05)
            x = self.model.sample(seeds, solver=solver, watch=watch).x.cpu()
            scores = self.model.log_prob(x, seeds, watch=watch) if request.weigh else None
        energies = self.model.system.energy(x).tolist()
        rows = [] if scores is None else [(s.value, s.standard_error, s.integration_error) for s in scores]
        return [
            Found(x[k].numpy(), energies[k], *(rows[k] if rows else (None, None, None)))
            for k in range(len(x))
        ]

    def encode(self, outcome: Outcome) -> Row:
        """Positions, energy, likelihood and weight; a configuration that left the finite range says so."""
        found = cast("Found", outcome.value)
        numbers = [found.energy, *found.positions.ravel().tolist(), found.log_likelihood or 0.0]
        good = all(math.isfinite(number) for number in numbers)
        message = "the numbers left the finite range"
        data: dict[str, Any] = {
            "smiles": None,
            "valid": good,
            "passed": good,
            "n_points": len(found.positions),
            "seed": outcome.item.seed,
            "reasons": [] if good else [{"code": "diverged", "message": message, "atoms": []}],
        }
        if good:
            data |= {"positions": found.positions.tolist(), "energy": found.energy}
            if found.log_likelihood is not None:
                data |= {
                    "log_likelihood": found.log_likelihood,
                    "standard_error": found.standard_error,
                    "integration_error": found.integration_error,
                    "kind": "estimate" if found.standard_error else "exact",
                    "log_weight": -found.energy - found.log_likelihood,
                }
        return Row(outcome.item.index, data)
