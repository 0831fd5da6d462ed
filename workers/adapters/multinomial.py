"""Multinomial diffusion of SMILES: sample, score, infill, repair, vary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from chemistry.reasons import Failure
from chemistry.smiles import SmilesReport
from models.core.errors import ConfigError
from models.core.random import molecule_seed
from models.multinomial.bound import StringScore, score
from models.multinomial.model import MultinomialDiffusion
from models.multinomial.repair import Effort, Repair, repair
from models.multinomial.sampling import Start, walk
from models.strings.tokens import TokenError
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter, counted
from workers.adapters.loading import load_weights
from workers.adapters.molecules import failure_data
from workers.adapters.string_edits import Variant, alike_all, readable
from workers.adapters.strings import (
    Written,
    infilled_data,
    judge_all,
    openings,
    read_strings,
    string_data,
    token_failure,
    tokenized,
)
from workers.cards import Card
from workers.problems import Validation
from workers.schemas.base import JobRequest
from workers.schemas.multinomial import (
    InfillRequest,
    RepairRequest,
    SampleRequest,
    ScoreRequest,
    VaryRequest,
)


@dataclass(frozen=True)
class Read:
    """A given string as the model's tokens."""

    written: Written
    tokens: tuple[int, ...]


class Adapter(FamilyAdapter):
    """One diffusion on one device."""

    patience: ClassVar[float] = 20.0

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights."""
        _, model = load_weights(card, device)
        self.model = cast("MultinomialDiffusion", model)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """Where every string of a sample or a template starts; given molecules are read later, in children."""
        if isinstance(request, SampleRequest | InfillRequest):
            content = openings(request, items, self.model.vocabulary, self.model.lengths)
            return Work(capability, request, tuple(items), content)
        return Work(capability, request, tuple(items))

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Whatever was asked for; given molecules one after the other."""
        try:
            if isinstance(work.request, SampleRequest | InfillRequest):
                yield from self._sample(work, work.request, progress, cancelled)
            else:
                yield from self._each(work, progress, cancelled)
        except ConfigError as error:
            raise Validation(str(error)) from error

    def encode(self, outcome: Outcome) -> Row:
        """The row of a string."""
        value, index, request = outcome.value, outcome.item.index, outcome.request
        if isinstance(value, Failure):
            return Row(index, failure_data(value))
        if isinstance(request, SampleRequest | InfillRequest):
            opened, ids, text, report = value
            data = string_data(text, report, request.effective_filters)
            if isinstance(request, InfillRequest):
                data |= infilled_data(request, outcome.item, self.model.vocabulary, opened, ids)
            return Row(index, data | {"n_tokens": len(ids), "seed": outcome.item.seed})
        return Row(index, value | {"seed": outcome.item.seed})

    # --- sample and infill -------------------------------------------------------------------------------

    def _sample(
        self, work: Work, request: SampleRequest | InfillRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[Outcome]:
        stepped = counted(progress, request.steps * len(work.items))
        starts = [
            Start(molecule_seed(item.seed, item.index), one.tokens, tuple(not out for out in one.hidden))
            for item, one in zip(work.items, work.content, strict=True)
        ]
        made = walk(
            self.model, starts, request.steps, temperature=request.temperature, cancelled=cancelled,
            stepped=stepped,
        )  # fmt: skip
        whole = [
            (item, one, ids, self.model.vocabulary.decode(ids))
            for item, one, ids in zip(work.items, work.content, made, strict=True)
            if ids is not None
        ]
        reports = judge_all(self._guard, [text for *_, text in whole])
        for (item, one, ids, text), report in zip(whole, reports, strict=True):
            yield Outcome(item, request, work.capability, (one, ids, text, report))

    # --- given strings -----------------------------------------------------------------------------------

    def _each(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        request = work.request
        as_written = isinstance(request, RepairRequest)
        canonical = not as_written and cast("ScoreRequest | VaryRequest", request).canonical
        read = read_strings(self._guard, work.items, cancelled, canonical=canonical)
        for done, (item, found) in enumerate(read, 1):
            if cancelled():
                return
            given = found if isinstance(found, Failure) else self._tokens(found)
            if isinstance(given, Failure):
                yield Outcome(item, request, work.capability, given)
                continue
            seed = molecule_seed(item.seed, item.index)
            try:
                data = self._answer(request, given, seed, cancelled)
            except InterruptedError:
                return
            yield Outcome(item, request, work.capability, data)
            progress(StepProgress(done, len(work.items)))

    def _tokens(self, written: Written) -> Read | Failure:
        try:
            written, ids = tokenized(self.model.vocabulary, written, self.model.longest)
        except TokenError as error:
            return token_failure(error, written.title)
        return Read(written, tuple(ids))

    def _answer(self, request: JobRequest, given: Read, seed: int, cancelled: Cancelled) -> dict[str, Any]:
        if isinstance(request, ScoreRequest):
            found = score(self.model, given.tokens, seed, request.draws, cancelled=cancelled)
            report = judge_all(self._guard, [given.written.smiles])[0]
            return self._scored(given, found, report)
        if isinstance(request, RepairRequest):
            return self._repaired(request, given, seed, cancelled)
        return self._varied(cast("VaryRequest", request), given, seed, cancelled)

    def _scored(self, given: Read, found: StringScore, report: SmilesReport | Failure) -> dict[str, Any]:
        likelihood, bit = found.likelihood, math.log(2)
        n = len(given.tokens)
        error = likelihood.standard_error if math.isfinite(likelihood.standard_error) else None
        return string_data(given.written.smiles, report) | {
            "title": given.written.title, "passed": True, "n_tokens": n,
            "stereo_ignored": given.written.flattened,
            "log_likelihood": likelihood.value, "standard_error": error, "kind": likelihood.kind,
            "draws": likelihood.draws, "bits": -likelihood.value / bit,
            "bits_standard_error": None if error is None else error / bit,
            "bits_per_token": -likelihood.value / bit / n, "terms": dict(likelihood.terms),
            "tokens": [
                {"token": self.model.vocabulary.tokens[k], "bits": nats / bit}
                for k, nats in zip(given.tokens, found.surprisal, strict=True)
            ],
        }  # fmt: skip

    def _repaired(
        self, request: RepairRequest, given: Read, seed: int, cancelled: Cancelled
    ) -> dict[str, Any]:
        def judge(texts: Sequence[str]) -> list[bool]:
            return readable(self._guard, texts)

        found = repair(
            self.model, given.tokens, judge, seed, count=request.n_repairs, draws=request.draws,
            effort=Effort(edits=request.max_edits), cancelled=cancelled,
        )  # fmt: skip
        reports = judge_all(self._guard, [one.text for one in found])
        told = [_repair_data(one, report) for one, report in zip(found, reports, strict=True)]
        best = told[0] if told else {}
        reasons = [] if told else [{
            "code": "no-repair", "atoms": [],
            "message": f"no valid SMILES lies within {request.max_edits} edits; allow more or split the string",
        }]  # fmt: skip
        return {
            "title": given.written.title, "given": given.written.smiles, "smiles": best.get("smiles"),
            "string": best.get("string"), "valid": bool(told), "passed": bool(told),
            "was_valid": bool(told) and best["edits"] == 0, "edits": best.get("edits"),
            "log_likelihood": best.get("log_likelihood"), "standard_error": best.get("standard_error"),
            "kind": "lower_bound", "n_repairs": len(told), "repairs": told, "reasons": reasons,
        }  # fmt: skip

    def _varied(self, request: VaryRequest, given: Read, seed: int, cancelled: Cancelled) -> dict[str, Any]:
        begin = max(1, round(request.noise * self.model.process.steps))
        free = (False,) * len(given.tokens)
        starts = [Start(molecule_seed(seed, k), given.tokens, free) for k in range(request.n_variants)]
        made = walk(
            self.model,
            starts,
            request.steps,
            begin=begin,
            temperature=request.temperature,
            cancelled=cancelled,
        )
        texts = [self.model.vocabulary.decode(ids) for ids in made if ids is not None]
        if len(texts) < len(starts):
            raise InterruptedError
        variants = alike_all(self._guard, given.written.smiles, texts)
        told = [_variant_data(text, one) for text, one in zip(texts, variants, strict=True)]
        different = _different(told, given.written.smiles)
        best = different[0] if different else {"smiles": None, "string": None, "tanimoto": None}
        reasons = [] if different else [{
            "code": "no-variant", "atoms": [],
            "message": "no valid variant differs from the molecule; ask for more variants or another noise",
        }]  # fmt: skip
        return {
            "title": given.written.title, "parent": given.written.smiles, **best,
            "valid": bool(different), "passed": bool(different), "noise": begin / self.model.process.steps,
            "n_valid": sum(one["valid"] for one in told), "n_different": len(different), "variants": told,
            "reasons": reasons,
        }  # fmt: skip


def _repair_data(one: Repair, report: SmilesReport | Failure) -> dict[str, Any]:
    likelihood = one.likelihood
    error = math.inf if likelihood is None else likelihood.standard_error
    return {
        "string": one.text, "smiles": None if isinstance(report, Failure) else report.smiles, "edits": one.edits,
        "log_likelihood": None if likelihood is None else likelihood.value,
        "standard_error": error if math.isfinite(error) else None, "score": one.score,
    }  # fmt: skip


def _variant_data(text: str, one: Variant | None) -> dict[str, Any]:
    if one is None:
        return {"string": text, "smiles": None, "valid": False, "tanimoto": None}
    return {"string": text, "smiles": one.smiles, "valid": True, "tanimoto": one.tanimoto}


def _different(told: Sequence[dict[str, Any]], parent: str) -> list[dict[str, Any]]:
    """Valid variants other than the molecule, each once, the most alike first."""
    seen = {parent}
    out = []
    for one in sorted((one for one in told if one["valid"]), key=lambda one: -one["tanimoto"]):
        if one["smiles"] not in seen:
            seen.add(one["smiles"])
            out.append({name: one[name] for name in ("smiles", "string", "tanimoto")})
    return out
