"""What adapters of models of molecules share: reading, sizes, scoring by size, rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from chemistry.reasons import Failure
from models.core.errors import ConfigError, DivergedError
from models.core.likelihood import Likelihood
from models.core.random import molecule_seed
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.adapters.molecule_rows import Given, read_for_scoring, sampled_row, scored_row
from workers.adapters.molecules import failure_data, guarded
from workers.cards import Card
from workers.problems import Numerical, Validation
from workers.schemas.base import InputRequest, JobRequest
from workers.schemas.generation import GenerateRequest, SizeRange

MOST_ATOMS = 200
"""Molecules to score may not be larger: the network's work grows with the square."""


class MoleculeAdapter(FamilyAdapter):
    """One model of molecules on one device; its family says how it samples and how it scores."""

    model: Any

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights and run the network once."""
        _, self.model = load_weights(card, device)
        self.warm_up()

    @abstractmethod
    def warm_up(self) -> None:
        """Run the network once."""

    @abstractmethod
    def sample(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Outcomes whose value is a Sample and the frames of its trajectory."""

    @abstractmethod
    def likelihoods(
        self,
        items: Sequence[Item],
        numbers: list[Any],
        positions: list[Any],
        request: Any,
        cancelled: Cancelled,
    ) -> list[Likelihood]:
        """Scores of molecules of one size; raises InterruptedError when canceled."""

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """Sizes and seeds of the molecules to sample; molecules to score are read later, in children."""
        if isinstance(request, GenerateRequest):
            return Work(capability, request, tuple(items), self.sizes_of(request, items))
        return Work(capability, request, tuple(items))

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Sample or score."""
        try:
            if isinstance(work.request, GenerateRequest):
                yield from self.sample(work, progress, cancelled)
            elif isinstance(work.request, InputRequest):
                yield from self._score(work, work.request, progress, cancelled)
        except ConfigError as error:
            raise Validation(str(error)) from error
        except DivergedError as error:
            raise Numerical(str(error)) from error

    def seeds(self, items: Sequence[Item]) -> list[int]:
        """The seed of each molecule: of the job's seed and its index, whatever its neighbors."""
        return [molecule_seed(item.seed, item.index) for item in items]

    def encode(self, outcome: Outcome) -> Row:
        """A checked molecule with its texts, or the reason why there is none."""
        if isinstance(outcome.value, Failure):
            return Row(outcome.item.index, failure_data(outcome.value))
        if isinstance(outcome.request, GenerateRequest):
            return sampled_row(outcome.item, outcome.request, *outcome.value)
        return scored_row(outcome.item, *outcome.value)

    def sizes_of(self, request: GenerateRequest, items: Sequence[Item]) -> list[int]:
        """How many atoms each molecule gets; depends on its own seed and index only."""
        wanted = request.n_atoms
        if isinstance(wanted, int):
            return [wanted] * len(items)
        if isinstance(wanted, list):
            return [wanted[item.index % len(wanted)] for item in items]
        bounds = (wanted.min, wanted.max) if isinstance(wanted, SizeRange) else (None, None)
        try:
            drawn: list[int] = self.model.sizes.draw(self.seeds(items), *bounds)
        except ConfigError as error:
            raise Validation(str(error)) from error
        return drawn

    def _score(
        self, work: Work, request: InputRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[Outcome]:
        """Molecules of one size at a time, so that a canceled job keeps what is finished."""
        by_size: dict[int, list[tuple[Item, Given]]] = {}
        for item, found in guarded(self._guard, read_for_scoring, work.items, cancelled):
            refused = found if isinstance(found, Failure) else self._refused(found)
            if isinstance(found, Failure) or refused is not None:
                yield Outcome(item, request, work.capability, refused)
            else:
                by_size.setdefault(found.structure.n_atoms, []).append((item, found))
        calls = request.evaluations_per_item()
        done = 0
        for _, group in sorted(by_size.items()):
            if cancelled():
                return
            try:
                found_scores = self.likelihoods(
                    [item for item, _ in group],
                    [given.structure.numbers for _, given in group],
                    [given.structure.positions for _, given in group],
                    request,
                    cancelled,
                )
            except InterruptedError:
                return
            done += calls
            progress(StepProgress(done, calls * len(by_size)))
            for (item, given), likelihood in zip(group, found_scores, strict=True):
                yield Outcome(item, request, work.capability, (given, likelihood))

    def _refused(self, given: Given) -> Failure | None:
        """Why the model cannot score a molecule."""
        structure = given.structure
        strange = set(self.model.unsupported(structure.numbers.tolist()))
        if strange:
            atoms = tuple(i for i, z in enumerate(structure.numbers.tolist()) if z in strange)
            symbols = ", ".join(sorted({structure.symbols[atom] for atom in atoms}))
            message = f"the model does not know {symbols}"
            return Failure.because("unknown-element", message, atoms=atoms, title=structure.title)
        if structure.n_atoms > MOST_ATOMS:
            message = f"{structure.n_atoms} atoms; the limit is {MOST_ATOMS}"
            return Failure.because("too-large", message, title=structure.title)
        return None
