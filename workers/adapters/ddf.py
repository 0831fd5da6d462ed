"""Fingerprint densities: exact log-probabilities, nearest real molecules, compressed libraries of fingerprints."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from chemistry.reasons import Failure
from models.core.library_file import Block, LibraryError
from models.core.random import generator, molecule_seed
from models.ddf.codec import FingerprintCodec
from models.ddf.model import FingerprintDDF
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.graph_records import Fingerprinted, read_fingerprints
from workers.adapters.loading import load_weights
from workers.adapters.molecules import failure_data, guarded, reasons_data
from workers.cards import Card
from workers.problems import Validation
from workers.schemas.ddf import CompressRequest, DecompressRequest, SampleRequest, ScoreRequest

Bits = NDArray[np.uint8]


def on_bits(kind: str, bits: Bits) -> list[int]:
    """Which bits are on; MACCS keys are numbered from 1, Morgan bits from 0."""
    return (np.flatnonzero(bits) + int(kind == "maccs")).tolist()


class Adapter(FamilyAdapter):
    """One model of fingerprints on one device."""

    patience: ClassVar[float] = 20.0

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights; everything is computed in float64 on the CPU, where it takes microseconds."""
        del device
        _, model = load_weights(card)
        self.model = cast("FingerprintDDF", model.double())
        self._codecs: dict[str, FingerprintCodec] = {}

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
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
        if isinstance(request, CompressRequest | DecompressRequest):
            coded = self._compress if isinstance(request, CompressRequest) else self._decompress
            for item, data in coded(work, cancelled):
                yield Outcome(item, request, work.capability, data)
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
        if isinstance(value, dict):
            return Row(index, value)
        if isinstance(outcome.request, SampleRequest):
            return Row(index, self._sampled(outcome.request, value) | {"seed": outcome.item.seed})
        return Row(index, self._scored(cast("ScoreRequest", outcome.request), value))

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

    def _codec(self, kind: str) -> FingerprintCodec:
        if kind not in self._codecs:
            self._codecs[kind] = FingerprintCodec(self.model.flow(kind))
        return self._codecs[kind]

    def _compress(self, work: Work, cancelled: Cancelled) -> Iterator[tuple[Item, dict[str, Any]]]:
        request = cast("CompressRequest", work.request)
        codec = self._codec(request.fingerprint)
        read = dict(guarded(self._guard, read_fingerprints, work.items, cancelled))
        if len(read) < len(work.items):
            return
        for start in range(0, len(work.items), request.block):
            part = work.items[start : start + request.block]
            known = [
                one.bits[request.fingerprint] for item in part if isinstance(one := read[item], Fingerprinted)
            ]
            block, bits = codec.encode(np.array(known, np.uint8).reshape(len(known), codec.dimensions))
            code = {"code": base64.b64encode(block.code).decode(), "code_molecules": len(part)}
            costs = iter(bits)
            for number, item in enumerate(part):
                yield (
                    item,
                    self._coded(item, read[item], request.fingerprint, costs) | (code if number == 0 else {}),
                )

    def _coded(
        self, item: Item, found: Fingerprinted | Failure, kind: str, costs: Iterator[float]
    ) -> dict[str, Any]:
        data: dict[str, Any] = {"fingerprint": kind, "valid": True, "passed": True}
        if isinstance(found, Failure):  # the record itself is kept
            text = (item.record or b"").decode("utf-8", errors="replace").strip()
            return data | {
                "string": text, "title": "", "raw": True, "bits": 8.0 * len(text.encode()),
                "reasons": reasons_data(found.reasons),
            }  # fmt: skip
        return data | {
            "smiles": found.smiles, "title": found.title, "raw": False, "bits": next(costs),
            "bits_on": int(found.bits[kind].sum()), "reasons": [],
        }  # fmt: skip

    def _decompress(self, work: Work, cancelled: Cancelled) -> Iterator[tuple[Item, dict[str, Any]]]:
        request = cast("DecompressRequest", work.request)
        library = request.opened
        codec, starts = self._codec(library.order), library.starts()
        decoded: set[int] = set()
        found: dict[int, list[int]] = {}
        for number in sorted({request.number(item.index) for item in work.items}):
            block, _ = library.place(number)
            if block in decoded:
                continue
            if cancelled():
                return
            inside = range(starts[block], starts[block] + library.blocks[block].molecules)
            coded = [one for one in inside if one not in library.raw]
            try:
                rows = codec.decode(Block(len(coded), library.blocks[block].code))
            except LibraryError as error:  # a forged file: its checksum fits, its code does not
                raise Validation(str(error)) from error
            decoded.add(block)
            found |= {one: on_bits(library.order, bits) for one, bits in zip(coded, rows, strict=True)}
        for item in work.items:
            number = request.number(item.index)
            on = found.get(number)
            yield item, {
                "number": number, "title": library.titles.get(number, ""), "fingerprint": library.order,
                "smiles": None, "string": library.raw.get(number), "on": on,
                "bits_on": None if on is None else len(on), "valid": True, "passed": True, "reasons": [],
            }  # fmt: skip

    def _sampled(self, request: SampleRequest, bits: Bits) -> dict[str, Any]:
        return {"smiles": None, "on": on_bits(request.fingerprint, bits)} | self._described(
            request.fingerprint, bits, request.neighbours
        )

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
