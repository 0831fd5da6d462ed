"""The plausibility report: other models' adapters asked one after another, their rows put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from pydantic import ValidationError

from chemistry.formats import write_xyz
from chemistry.reasons import Failure
from chemistry.strain import strain
from chemistry.structure import Structure
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.molecule_rows import Given, read_for_scoring
from workers.adapters.molecules import failure_data, guarded
from workers.cards import Card, CardShelf
from workers.engine import Engine, Shard
from workers.problems import EquimolProblem
from workers.schemas.base import InputRequest, JobRequest
from workers.schemas.report import ReportRequest, askable

_log = logging.getLogger(__name__)

GROUP = 8
"""Molecules whose report is finished together; rows stream in such groups."""

DEAR = 1_000
"""A model that takes more network calls a molecule is asked only by its name: others would wait minutes for it."""

KINDS = {
    "exact": "exact",
    "lower_bound": "lower_bound",
    "importance_weighted": "lower_bound",
    "one_order": "lower_bound",
}


class Adapter(FamilyAdapter):
    """The family that asks all others."""

    patience: ClassVar[float] = 60.0

    def compose(self, engine: Engine) -> None:
        """The engine whose models are asked."""
        self.engine = engine

    def setup(self, card: Card | None, device: str) -> None:  # noqa: ARG002
        """Read the cards."""
        self.shelf = CardShelf(self.engine.settings.weights_folders)

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """Which models are asked for what."""
        return Work(capability, request, tuple(items), self.asked(cast("ReportRequest", request)))

    def asked(self, request: ReportRequest) -> list[tuple[Card, str, JobRequest]]:
        """What every model is asked that can judge molecules: those named, else those that answer soon."""
        settings = self.engine.settings
        out: list[tuple[Card, str, JobRequest]] = []
        for card, capability, kind in askable(self.shelf, settings.plugins):
            if not card.available or (request.models is not None and card.id not in request.models):
                continue
            try:
                question = question_to(kind, request)
                question.check_model(card, settings)
            except (ValidationError, EquimolProblem) as error:
                if request.models is not None:
                    raise
                _log.info("the report does not ask %s, which needs more than molecules: %s", card.id, error)
                continue
            if request.models is not None or question.evaluations_per_item() <= DEAR:
                out.append((card, capability, question))
        return out

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Group by group: read, then ask every model."""
        request = cast("ReportRequest", work.request)
        total, done = len(work.items) * len(work.content), 0
        for start in range(0, len(work.items), GROUP):
            group = work.items[start : start + GROUP]
            read: dict[int, Given | Failure] = {
                item.index: found for item, found in guarded(self._guard, read_for_scoring, group, cancelled)
            }
            if cancelled() or len(read) < len(group):
                return
            good = tuple(item for item in group if not isinstance(read[item.index], Failure))
            scores: dict[int, list[dict[str, Any]]] = {item.index: [] for item in group}
            for card, capability, question in work.content:
                if cancelled():
                    return
                for index, score in self.ask(card, capability, question, good, cancelled):
                    scores[index].append(score)
                done += len(group)
                progress(StepProgress(done, total))
            for item in good:
                given = cast("Given", read[item.index])
                if request.strain and item.format != "smiles":
                    scores[item.index].append(self.strain_of(given.structure))
            if cancelled():
                return
            for item in group:
                found = read[item.index]
                yield Outcome(item, request, work.capability, (found, scores[item.index]))

    def ask(
        self,
        card: Card,
        capability: str,
        question: JobRequest,
        items: tuple[Item, ...],
        cancelled: Cancelled,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """One model's figures of all items; a model that cannot be asked says so in every row."""
        shard = Shard(card.family, card, capability, question, items)
        seen: set[int] = set()
        try:
            for row in self.engine.run(shard, lambda _: None, cancelled):
                seen.add(row.index)
                yield row.index, figure(card, capability, row.data)
        except EquimolProblem as problem:
            _log.warning("the report goes on without %s: %s", card.id, problem.detail)
            for item in items:
                if item.index not in seen:
                    yield item.index, {"model": card.id, "figure": capability, "problem": problem.detail}

    def strain_of(self, structure: Structure) -> dict[str, Any]:
        """Energy above the next minimum."""
        found = strain(structure, model="mmff", guard=self._guard)
        said: dict[str, Any] = {"model": "chemistry", "figure": "strain energy (MMFF94)"}
        if isinstance(found, Failure):
            return said | {"problem": str(found)}
        return said | {
            "value": found.energy, "unit": "kcal/mol", "kind": "estimate", "standard_error": None,
            "percentile": None, "in_domain": None,
        }  # fmt: skip

    def encode(self, outcome: Outcome) -> Row:
        """A molecule with all of its scores."""
        found, scores = outcome.value
        if isinstance(found, Failure):
            return Row(outcome.item.index, failure_data(found) | {"scores": []})
        given = cast("Given", found)
        percentiles = [score["percentile"] for score in scores if score.get("percentile") is not None]
        flags = [score["model"] for score in scores if score.get("in_domain") is False]
        data = given.data | {
            "passed": True,
            "scores": scores,
            "lowest_percentile": min(percentiles, default=None),
            "flags": flags,
            "seed": outcome.item.seed,
        }
        return Row(outcome.item.index, data, sdf=given.sdf, xyz=write_xyz(given.structure), svg=given.svg)


def question_to(kind: type[InputRequest], request: ReportRequest) -> JobRequest:
    """What a model is asked; the records themselves travel with the items."""
    given: dict[str, Any] = {"molecules": {"smiles": ["C"]}, **kind.in_brief}
    if "draws" in kind.model_fields:
        given["draws"] = max(request.draws, kind.in_brief.get("draws", 2))
    return kind.model_validate(given)


def figure(card: Card, capability: str, data: dict[str, Any]) -> dict[str, Any]:
    """One model's row as one line of the report."""
    said: dict[str, Any] = {
        "model": card.id,
        "figure": "log-likelihood" if capability == "score" else "domain",
    }
    if not data["valid"] and data.get("log_likelihood") is None:
        return said | {
            "problem": "; ".join(reason["message"] for reason in data.get("reasons", ())) or "no score"
        }
    said |= {"percentile": data.get("percentile"), "in_domain": data.get("in_domain")}
    if capability == "predict":
        return said | {"value": None, "unit": "", "kind": "estimate", "standard_error": None}
    value = data.get("log_likelihood")
    if value is None:
        return said | {
            "problem": "; ".join(r["message"] for r in data.get("reasons", ())) or "no finite score"
        }
    return said | {
        "value": value, "unit": "nats", "kind": KINDS.get(str(data.get("kind")), "estimate"),
        "standard_error": data.get("standard_error"),
        **({"bits": data["bits"]} if "bits" in data else {}),
    }  # fmt: skip
