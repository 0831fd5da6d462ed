"""Argmax flows of SMILES: sample, score, interpolate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from chemistry.reasons import Failure
from models.argmax_flow.bound import score
from models.argmax_flow.model import ArgmaxFlow
from models.argmax_flow.sampling import path, sample
from models.core.errors import ConfigError
from models.core.random import molecule_seed
from models.strings.tokens import TokenError
from workers.adapters.base import Cancelled, Item, Outcome, Progress, StepProgress, Work
from workers.adapters.family import FamilyAdapter, counted
from workers.adapters.loading import load_weights
from workers.adapters.molecules import failure_data
from workers.adapters.string_edits import alike_all
from workers.adapters.strings import (
    Written,
    judge_all,
    read_canonical,
    read_strings,
    string_data,
    token_failure,
    tokenized,
)
from workers.cards import Card
from workers.problems import Validation
from workers.schemas.argmax_flow import InterpolateRequest, SampleRequest, ScoreRequest
from workers.schemas.base import JobRequest

NAT = math.log(2)


class Adapter(FamilyAdapter):
    """One flow on one device."""

    patience: ClassVar[float] = 20.0

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights; start the child that reads and judges SMILES."""
        _, model = load_weights(card, device)
        self.model = cast("ArgmaxFlow", model)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """The ends of a path as tokens; molecules to score are read later. Raises Validation."""
        ends = self._ends(request) if isinstance(request, InterpolateRequest) else None
        return Work(capability, request, tuple(items), ends)

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """By capability."""
        request = work.request
        try:
            if isinstance(request, SampleRequest):
                found = self._sample(work, request, progress, cancelled)
            elif isinstance(request, InterpolateRequest):
                found = self._interpolate(work, request, cancelled)
            else:
                found = self._score(work, cast("ScoreRequest", request), progress, cancelled)
            for item, value in found:
                yield Outcome(item, request, work.capability, value)
        except ConfigError as error:
            raise Validation(str(error)) from error

    # --- sample ------------------------------------------------------------------------------------------

    def _sample(
        self, work: Work, request: SampleRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        stepped = counted(progress, request.evaluations_per_item() * len(work.items))
        seeds = [molecule_seed(item.seed, item.index) for item in work.items]
        made = sample(
            self.model, seeds, bounds=request.length_bounds, temperature=request.temperature,
            stopped=cancelled, stepped=stepped,
        )  # fmt: skip
        whole = [(item, ids) for item, ids in zip(work.items, made, strict=True) if ids is not None]
        texts = [self.model.vocabulary.decode(ids) for _, ids in whole]
        reports = judge_all(self._guard, texts)
        for (item, ids), text, report in zip(whole, texts, reports, strict=True):
            data = string_data(text, report, request.effective_filters)
            yield item, data | {"n_tokens": len(ids), "seed": item.seed}

    # --- score -------------------------------------------------------------------------------------------

    def _score(
        self, work: Work, request: ScoreRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        read = read_strings(self._guard, work.items, cancelled, canonical=request.canonical)
        for done, (item, given) in enumerate(read, 1):
            if cancelled():
                return
            if isinstance(given, Failure):
                yield item, given
                continue
            try:
                given, ids = tokenized(self.model.vocabulary, given, self.model.longest)
                yield item, self._scored(given, ids, request, item, cancelled)
            except TokenError as error:
                yield item, failure_data(token_failure(error, given.title)) | {"string": given.smiles}
            except InterruptedError:
                return
            progress(StepProgress(done, len(work.items)))

    def _scored(
        self, given: Written, ids: list[int], request: ScoreRequest, item: Item, cancelled: Cancelled
    ) -> dict[str, Any]:
        seed = molecule_seed(item.seed, item.index)
        found = score(self.model, ids, seed, request.draws, stopped=cancelled)
        (report,) = judge_all(self._guard, [given.smiles])
        error = found.standard_error if math.isfinite(found.standard_error) else None
        return string_data(given.smiles, report) | {
            "passed": True, "title": given.title, "n_tokens": len(ids), "seed": item.seed,
            "stereo_ignored": given.flattened,
            "log_likelihood": found.value, "standard_error": error, "kind": found.kind, "draws": found.draws,
            "bits": -found.value / NAT, "bits_standard_error": None if error is None else error / NAT,
            "bits_per_token": -found.value / NAT / len(ids), "terms": dict(found.terms),
        }  # fmt: skip

    # --- interpolate -------------------------------------------------------------------------------------

    def _ends(self, request: InterpolateRequest) -> tuple[list[int], list[int]]:
        """Both ends as tokens. Raises Validation with a pointer at each that the model cannot take."""
        found: list[list[int]] = []
        errors = []
        for name, text in (("start", request.start), ("end", request.end)):
            try:
                written = self._read(text, canonical=request.canonical)
                found.append(self.model.vocabulary.encode(written.smiles, longest=self.model.longest))
            except TokenError as error:
                errors.append({"pointer": f"/{name}", "detail": str(error)})
        if errors:
            raise Validation(
                f"{errors[0]['pointer'][1:]} cannot be read: {errors[0]['detail']}", errors=errors
            )
        return found[0], found[1]

    def _read(self, text: str, *, canonical: bool) -> Written:
        if not canonical:
            return Written(text)
        answer = self._guard.call(read_canonical, [(text, "smiles", 0)])
        one = answer if isinstance(answer, Failure) else answer[0]
        if isinstance(one, Failure):
            raise TokenError("bad-token", "; ".join(reason.message for reason in one.reasons))
        return one

    def _interpolate(
        self, work: Work, request: InterpolateRequest, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        def watch() -> None:
            if cancelled():
                raise InterruptedError

        start, end = work.content
        positions = [item.index / (request.points - 1) for item in work.items]
        try:
            stops = path(self.model, start, end, positions, work.items[0].seed, way=request.way, watch=watch)
        except InterruptedError:
            return
        texts = [self.model.vocabulary.decode(stop.tokens) for stop in stops]
        reports = judge_all(self._guard, texts)
        alike = [alike_all(self._guard, self.model.vocabulary.decode(ids), texts) for ids in (start, end)]
        rows = zip(work.items, stops, texts, reports, *alike, strict=True)
        for item, stop, text, report, to_start, to_end in rows:
            yield item, string_data(text, report) | {
                "passed": not isinstance(report, Failure), "seed": item.seed, "position": stop.position,
                "n_tokens": len(stop.tokens),
                "similarity_to_start": None if to_start is None else to_start.tanimoto,
                "similarity_to_end": None if to_end is None else to_end.tanimoto,
            }  # fmt: skip
