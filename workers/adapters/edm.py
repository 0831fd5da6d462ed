"""Equivariant diffusion: sample molecules, and score given ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from models.core.likelihood import Likelihood
from models.core.random import molecule_seed
from models.edm.model import EDM
from workers.adapters.base import Outcome, StepProgress, Work
from workers.adapters.molecule_models import Cancelled, MoleculeAdapter, Progress
from workers.adapters.molecule_rows import Frame
from workers.schemas.edm import FLOW_STEPS, SampleRequest


class Adapter(MoleculeAdapter):
    """One EDM on one device."""

    model: EDM

    def warm_up(self) -> None:
        run = self.model.sampling([self.model.sizes.minimum], [0], steps=2)
        while not run.done:
            run.step()

    def sample(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        request = work.request
        assert isinstance(request, SampleRequest)
        seeds = [molecule_seed(item.seed, item.index) for item in work.items]
        given = {"churn": request.churn, "guidance": request.guidance}
        options = {name: value for name, value in given.items() if value is not None}
        run = self.model.sampling(
            work.content, seeds, sampler=request.sampler, steps=request.steps, **options
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
        self, numbers: list[Any], positions: list[Any], seeds: list[int], request: Any, cancelled: Cancelled
    ) -> list[Likelihood]:
        draws = request.effective_draws
        if request.method == "bound":
            return self.model.bound(numbers, positions, seeds, draws=draws, cancelled=cancelled)
        return self.model.probability_flow_log_prob(
            numbers, positions, seeds, draws=draws, steps=FLOW_STEPS, cancelled=cancelled
        )


def frame_steps(total: int, frames: int) -> set[int]:
    """After which of `total` calls a frame is kept: evenly spread, the last call included."""
    return {math.ceil(total * (k + 1) / frames) for k in range(frames)} if frames else set()
