"""Order-agnostic string models and left-to-right ones: sample, score, fill in, compress and decompress SMILES."""

from __future__ import annotations

import base64
import copy
import math
from collections.abc import Iterator
from typing import Any, cast

from chemistry.reasons import Failure
from models.ardm.codec import Codec
from models.ardm.likelihood import StringScore, score
from models.ardm.model import ARDM
from models.ardm.ordered import sample_ordered
from models.ardm.sampling import StoppedError, fill
from models.core.errors import ConfigError
from models.core.library_file import Library, LibraryError
from models.core.random import molecule_seed
from models.strings.lengths import by_length
from models.strings.tokens import TokenError
from workers.adapters.base import Cancelled, Item, Outcome, Progress, StepProgress, Work
from workers.adapters.family import FamilyAdapter, counted
from workers.adapters.loading import load_weights
from workers.adapters.molecules import failure_data, reasons_data
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
from workers.schemas.ardm import (
    CompressRequest,
    DecompressRequest,
    InfillRequest,
    SampleRequest,
    ScoreRequest,
)

BATCH = 128
"""Strings of one length in a network call."""


class Adapter(FamilyAdapter):
    """One model on one device; compression is always on the CPU."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights; start the child that reads and judges SMILES."""
        _, model = load_weights(card, device)
        self.model = cast("ARDM", model)
        self._codecs: dict[tuple[str, int], Codec] = {}

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """By capability."""
        request = work.request
        if isinstance(request, SampleRequest | InfillRequest):
            found = self._draw(work, request, progress, cancelled)
        elif isinstance(request, ScoreRequest):
            found = self._score(work, request, progress, cancelled)
        elif isinstance(request, CompressRequest):
            found = self._compress(work, request, cancelled)
        else:
            found = self._decompress(work, cast("DecompressRequest", request), cancelled)
        for item, value in found:
            yield Outcome(item, request, work.capability, value)

    # --- sample and infill ----------------------------------------------------------------------------------

    def _draw(
        self, work: Work, request: SampleRequest | InfillRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        model, items = self.model, work.items
        seeds = [molecule_seed(item.seed, item.index) for item in items]
        given = openings(request, items, model.vocabulary, model.lengths)
        templates = [one.masked(model.mask) for one in given]
        stages = model.hierarchy.stages
        most = request.steps or stages * model.longest
        groups = by_length([len(template) for template in templates], BATCH)
        total = sum(
            max(min(stages * templates[k].count(model.mask), most) for k in group) for group in groups
        )
        step = counted(progress, total)
        try:
            if model.order == "left-to-right":
                found = sample_ordered(
                    model, [len(template) for template in templates], seeds, temperature=request.temperature,
                    most=BATCH, progress=step, stopped=cancelled,
                )  # fmt: skip
            else:
                found = fill(
                    model, templates, seeds, steps=request.steps, even=request.policy == "even",
                    temperature=request.temperature, most=BATCH, progress=step, stopped=cancelled,
                )  # fmt: skip
        except StoppedError:
            return
        except ConfigError as error:
            raise Validation(str(error), errors=[{"pointer": "/steps", "detail": str(error)}]) from error
        texts = [model.vocabulary.decode(one.tokens) for one in found]
        reports = judge_all(self._guard, texts)
        for item, opened, one, text, report in zip(items, given, found, texts, reports, strict=True):
            n = len(one.tokens)
            value = one.log_prob + (model.lengths.log_prob(n) if isinstance(request, SampleRequest) else 0.0)
            data = string_data(text, report, request.effective_filters) | {
                "seed": item.seed, "calls": one.calls, "n_tokens": n, "kind": "one_order",
                "log_likelihood": value, "bits": -value / math.log(2), "standard_error": None,
            }  # fmt: skip
            if isinstance(request, InfillRequest):
                data |= infilled_data(request, item, model.vocabulary, opened, one.tokens)
                data["probability"] = math.exp(one.log_prob)
            yield item, data

    # --- score ----------------------------------------------------------------------------------------------

    def _read(self, work: Work, cancelled: Cancelled, *, canonical: bool) -> Iterator[tuple[Item, Any]]:
        """Item, and (given, ids) or a Failure."""
        for item, given in read_strings(self._guard, work.items, cancelled, canonical=canonical):
            if isinstance(given, Failure):
                yield item, given
                continue
            try:
                given, ids = tokenized(self.model.vocabulary, given, self.model.longest)
            except TokenError as error:
                yield item, (given, token_failure(error, given.title))
            else:
                yield item, (given, ids)

    def _score(
        self, work: Work, request: ScoreRequest, progress: Progress, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        order = request.order or ("random" if self.model.order == "any" else self.model.order)
        for done, (item, found) in enumerate(self._read(work, cancelled, canonical=request.canonical), 1):
            if isinstance(found, Failure):
                yield item, found
                continue
            given, ids = found
            if isinstance(ids, Failure):
                yield item, failure_data(ids) | {"string": given.smiles}
                continue
            if cancelled():
                return
            value = score(
                self.model,
                ids,
                molecule_seed(item.seed, item.index),
                draws=request.draws,
                order=order,
            )
            yield item, self._scored(given, ids, value) | {"seed": item.seed, "order": order}
            progress(StepProgress(done, len(work.items)))

    def _scored(self, given: Written, ids: list[int], found: StringScore) -> dict[str, Any]:
        (report,) = judge_all(self._guard, [given.smiles])
        nat = math.log(2)
        error = found.standard_error if math.isfinite(found.standard_error) else None
        return string_data(given.smiles, report) | {
            "passed": True, "title": given.title, "stereo_ignored": given.flattened,
            "n_tokens": len(ids), "log_likelihood": found.log_prob,
            "standard_error": error, "kind": found.kind, "draws": found.draws, "bits": -found.log_prob / nat,
            "bits_standard_error": None if error is None else error / nat, "length_bits": -found.log_length / nat,
            "bits_per_token": -found.log_prob / nat / len(ids),
            "tokens": [
                {"token": self.model.vocabulary.tokens[i], "bits": nats / nat}
                for i, nats in zip(ids, found.surprisal, strict=True)
            ],
        }  # fmt: skip

    # --- compress and decompress ----------------------------------------------------------------------------

    def _codec(self, order: str, steps: int) -> Codec:
        if (order, steps) not in self._codecs:
            model = self.model if self.model.device.type == "cpu" else copy.deepcopy(self.model).cpu()
            self._codecs[order, steps] = Codec(model, order=order, steps=steps)
        return self._codecs[order, steps]

    def _compress(
        self, work: Work, request: CompressRequest, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        codec = self._codec(request.order, request.steps or 0)
        read = dict(self._read(work, cancelled, canonical=request.canonical))
        if len(read) < len(work.items):
            return
        for start in range(0, len(work.items), request.block):
            if cancelled():
                return
            part = work.items[start : start + request.block]
            known: list[tuple[str, str, list[int] | Failure]] = []
            for item in part:
                found = read[item]
                if isinstance(found, Failure):  # unreadable: the text itself is kept
                    known.append(((item.record or b"").decode("utf-8", errors="replace").strip(), "", found))
                else:
                    known.append((found[0].smiles, found[0].title, found[1]))
            block, bits = codec.encode([[] if isinstance(ids, Failure) else ids for _, _, ids in known])
            code = {"code": base64.b64encode(block.code).decode(), "code_molecules": block.molecules}
            for number, (item, (text, title, ids), cost) in enumerate(zip(part, known, bits, strict=True)):
                raw = isinstance(ids, Failure)
                yield item, {
                    "smiles": text, "string": text, "title": title, "valid": True, "passed": True, "raw": raw,
                    "n_tokens": None if isinstance(ids, Failure) else len(ids),
                    "bits": 8.0 * len(text.encode()) + cost if raw else cost,
                    "reasons": reasons_data(ids.reasons) if isinstance(ids, Failure) else [],
                    **(code if number == 0 else {}),
                }  # fmt: skip

    def _decompress(
        self, work: Work, request: DecompressRequest, cancelled: Cancelled
    ) -> Iterator[tuple[Item, Any]]:
        library: Library = request.opened
        codec = self._codec(library.order, library.steps)
        wanted = {item: request.number(item.index) for item in work.items}
        places = {item: library.place(number) for item, number in wanted.items()}
        needed = sorted({block for block, _ in places.values()})
        try:
            decoded = codec.decode([library.blocks[block] for block in needed], cancelled)
        except LibraryError as error:  # a forged file: its checksum fits, its code does not
            raise Validation(str(error)) from error
        if not decoded:
            return
        by_block = dict(zip(needed, decoded, strict=True))
        for item, (block, row) in places.items():
            number = wanted[item]
            ids = by_block[block][row]
            text = self.model.vocabulary.decode(ids) if ids else library.raw.get(number, "")
            yield item, {
                "smiles": text, "string": text, "title": library.titles.get(number, ""), "number": number,
                "valid": True, "passed": True, "reasons": [],
            }  # fmt: skip
