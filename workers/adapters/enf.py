"""Equivariant normalizing flows: sample molecules, and score given ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from models.core.likelihood import Likelihood
from models.core.ode import Solver
from models.enf.model import ENF
from workers.adapters.base import Cancelled, Item, Outcome, Progress, StepProgress, Work
from workers.adapters.molecule_models import MoleculeAdapter
from workers.schemas.enf import SampleRequest


class Adapter(MoleculeAdapter):
    """One E-NF on one device."""

    model: ENF

    def warm_up(self) -> None:
        self.model.sample([self.model.sizes.minimum], [0], solver=Solver("heun", steps=2))

    def sample(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        request = work.request
        assert isinstance(request, SampleRequest)
        calls = 0

        def watch() -> None:
            nonlocal calls
            if cancelled():
                raise InterruptedError("sampling was cancelled")
            calls += 1
            # An adaptive solver does not know how many calls are left; it stays below the end until it is there.
            progress(StepProgress(calls, max(calls + 1, request.evaluations_per_item())))

        try:
            samples = self.model.sample(
                work.content,
                self.seeds(work.items),
                solver=chosen_solver(request),
                temperature=request.temperature,
                watch=watch,
            )
        except InterruptedError:
            return
        progress(StepProgress(calls, calls))
        for item, found in zip(work.items, samples, strict=True):
            yield Outcome(item, request, work.capability, (found, []))

    def likelihoods(
        self,
        items: Sequence[Item],
        numbers: list[Any],
        positions: list[Any],
        request: Any,
        cancelled: Cancelled,
    ) -> list[Likelihood]:
        exact = request.method == "exact"
        method = None if exact else Solver(tolerance=request.tolerance)
        return self.model.log_prob(
            numbers, positions, self.seeds(items), trace=request.method, draws=request.effective_draws, method=method,
            cancelled=cancelled,
        )  # fmt: skip


def chosen_solver(request: SampleRequest) -> Solver:
    """The solver of a request; fixed steps are smaller near the data, where the field changes fastest."""
    if request.solver == "dopri5":
        return Solver(tolerance=request.tolerance)
    return Solver(request.solver, steps=request.steps, refine=0.05)
