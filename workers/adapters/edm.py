"""Equivariant diffusion: sample molecules, and score given ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from models.core.likelihood import Likelihood
from models.edm.model import EDM
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.molecule_models import MoleculeAdapter
from workers.adapters.molecule_rows import Frame
from workers.schemas.edm import FLOW_STEPS, SampleRequest, context_of


class Adapter(MoleculeAdapter):
    """One EDM on one device."""

    model: EDM

    def warm_up(self) -> None:
        means = [[condition.mean for condition in self.model.conditions]]
        context = means if self.model.conditions else None
        run = self.model.sampling([self.model.sizes.minimum], [0], steps=2, context=context)
        while not run.done:
            run.step()

    def sample(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        request = work.request
        assert isinstance(request, SampleRequest)
        context = self.context(request, work.items)
        given = {"churn": request.churn, "guidance": request.guidance, "context": context}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        run = self.model.sampling(
            work.content, self.seeds(work.items), sampler=request.sampler, steps=request.steps, **options
        )
        frames: list[list[Frame]] = []
        keep = frame_steps(run.total_calls, request.keep_trajectory)
        while not run.done:
            if cancelled():
                return
            run.step()
            progress(StepProgress(run.calls, run.total_calls))
            if run.calls in keep:
                frames.append(run.frame())
        for place, (item, sample) in enumerate(zip(work.items, run.result(), strict=True)):
            trajectory = [frame[place] for frame in frames]
            yield Outcome(item, request, work.capability, (sample, trajectory))

    def likelihoods(
        self,
        items: Sequence[Item],
        numbers: list[Any],
        positions: list[Any],
        request: Any,
        cancelled: Cancelled,
    ) -> list[Likelihood]:
        seeds, context = self.seeds(items), self.context(request, items)
        options = {"draws": request.effective_draws, "context": context, "cancelled": cancelled}
        if request.method == "bound":
            return self.model.bound(numbers, positions, seeds, **options)
        return self.model.probability_flow_log_prob(numbers, positions, seeds, steps=FLOW_STEPS, **options)

    def context(self, request: Any, items: Sequence[Item]) -> list[list[float]] | None:
        """The conditions of each molecule; None for a model that takes none."""
        wanted = self.model.config.get("context")
        return [context_of(request.context, wanted, item.index) for item in items] if wanted else None

    def encode(self, outcome: Outcome) -> Row:
        """The row, with the conditions that the molecule was made or scored for."""
        row = super().encode(outcome)
        context = self.context(outcome.request, [outcome.item])
        if context is None:
            return row
        names = [condition.name for condition in self.model.conditions]
        return replace(row, data=row.data | {"context": dict(zip(names, context[0], strict=True))})


def frame_steps(total: int, frames: int) -> set[int]:
    """After which of `total` calls a frame is kept: evenly spread, the last call included."""
    return {math.ceil(total * (k + 1) / frames) for k in range(frames)} if frames else set()
