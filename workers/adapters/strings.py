"""What adapters of string models share: reading SMILES in killable children, and the rows of molecules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chemistry.formats import write_smiles
from chemistry.guard import Guard
from chemistry.reasons import Failure
from chemistry.smiles import SmilesReport, canonical_smiles, flat_smiles, judge_smiles
from models.core.random import molecule_seed
from models.strings.lengths import Lengths
from models.strings.templates import Opened
from models.strings.tokens import TokenError, Vocabulary
from workers.adapters.base import Cancelled, Item
from workers.adapters.molecules import Record, guarded, read_record, reasons_data
from workers.schemas.generation import CandidateFilters
from workers.schemas.strings import StringInfillRequest, StringSampleRequest

JUDGED = 32
"""Strings that one guarded call judges; when it dies they are judged one by one."""


@dataclass(frozen=True)
class Written:
    """A molecule given to a string model: its SMILES as the model reads it, and its title.

    flat: the same without stereo and isotopes, where it was rewritten and that differs. flattened: `smiles` is that.
    """

    smiles: str
    title: str = ""
    flat: str = ""
    flattened: bool = False


def read_strings(
    guard: Guard, items: Sequence[Item], cancelled: Cancelled, *, canonical: bool
) -> Iterator[tuple[Item, Written | Failure]]:
    """The SMILES of every item. SMILES given as they are, without `canonical`, need no chemistry at all."""
    raw = [item for item in items if item.format == "smiles" and not canonical]
    for item in raw:
        yield item, _as_written((item.record or b"").decode("utf-8", errors="replace"))
    others = [item for item in items if item.format != "smiles" or canonical]
    yield from guarded(guard, read_canonical, others, cancelled)


def read_canonical(records: Sequence[Record]) -> list[Written | Failure]:
    """In the child: records of any format to canonical SMILES."""
    return [_canonical(record) for record in records]


def _canonical(record: Record) -> Written | Failure:
    text, form, _ = record
    if form == "smiles":
        written = _as_written(text)
        if isinstance(written, Failure):
            return written
        smiles = canonical_smiles(written.smiles)
        if smiles is None:
            found = judge_smiles(written.smiles)
            reasons = found.reasons if isinstance(found, Failure) else ()
            return Failure(reasons, written.title)
        return _with_flat(smiles, written.title)
    structure = read_record(record)
    if isinstance(structure, Failure):
        return structure
    if structure.bonds is None:
        return Failure.because("bad-record", "no bonds: give SMILES or SDF", title=structure.title)
    text_or_failure = write_smiles(structure)
    if isinstance(text_or_failure, Failure):
        return text_or_failure
    return _with_flat(text_or_failure, structure.title)


def _with_flat(smiles: str, title: str) -> Written:
    flat = flat_smiles(smiles) or smiles
    return Written(smiles, title, "" if flat == smiles else flat)


def _as_written(line: str) -> Written | Failure:
    smiles, _, title = line.strip().replace("\t", " ").partition(" ")
    return Written(smiles, title.strip()) if smiles else Failure.because("bad-record", "an empty line")


def tokenized(vocabulary: Vocabulary, written: Written, longest: int) -> tuple[Written, list[int]]:
    """A molecule and its tokens; where its SMILES has tokens that the vocabulary lacks, those of the flat one.

    Raises TokenError, of the SMILES itself, when neither can be read.
    """
    try:
        return written, vocabulary.encode(written.smiles, longest=longest)
    except TokenError:
        if not written.flat:
            raise
        flat = Written(written.flat, written.title, flattened=True)
        try:
            return flat, vocabulary.encode(flat.smiles, longest=longest)
        except TokenError:
            pass
        raise


def judge_all(guard: Guard, strings: Sequence[str]) -> list[SmilesReport | Failure]:
    """The verdict on strings that a model wrote, in a killable child: models write anything."""
    out: list[SmilesReport | Failure] = []
    for start in range(0, len(strings), JUDGED):
        part = list(strings[start : start + JUDGED])
        answer = guard.call(judge_group, part)
        if not isinstance(answer, Failure):
            out += answer
            continue
        for text in part:
            alone = guard.call(judge_group, [text])
            out.append(alone if isinstance(alone, Failure) else alone[0])
    return out


def judge_group(strings: Sequence[str]) -> list[SmilesReport | Failure]:
    """In the child."""
    return [judge_smiles(text) for text in strings]


def string_data(
    text: str, report: SmilesReport | Failure, filters: CandidateFilters | None = None
) -> dict[str, Any]:
    """The columns of a string and of the molecule that it writes."""
    if isinstance(report, Failure):
        found: dict[str, Any] = {
            "smiles": None, "valid": False, "connected": False, "reasons": reasons_data(report.reasons),
        }  # fmt: skip
    else:
        found = {
            "smiles": report.smiles, "inchikey": report.inchikey, "formula": report.formula,
            "n_atoms": report.n_atoms, "valid": True, "connected": report.n_fragments == 1, "reasons": [],
        }  # fmt: skip
    wanted = {} if filters is None else filters.model_dump(include={"valid", "connected"})
    found["passed"] = all(bool(found[name]) for name, needed in wanted.items() if needed)
    return {"string": text, **found}


def openings(
    request: StringSampleRequest | StringInfillRequest,
    items: Sequence[Item],
    vocabulary: Vocabulary,
    lengths: Lengths,
) -> list[Opened]:
    """What every string starts from: its template with gaps of chosen lengths, or nothing but a length. Raises
    Validation for templates that cannot be completed.
    """
    seeds = [molecule_seed(item.seed, item.index) for item in items]
    if isinstance(request, StringInfillRequest):
        parsed = request.parsed(vocabulary, lengths.longest)
        return [
            parsed[request.number(item.index)].open(lengths, seed)
            for item, seed in zip(items, seeds, strict=True)
        ]
    sizes = lengths.draw(seeds, *(request.length_bounds or (1, None)))
    return [Opened((0,) * n, (range(n),)) for n in sizes]


def infilled_data(
    request: StringInfillRequest, item: Item, vocabulary: Vocabulary, opened: Opened, tokens: Sequence[int]
) -> dict[str, Any]:
    """The columns of a completion: its template, and what was put into every gap, "." between them."""
    number = request.number(item.index)
    return {
        "template": request.templates[number], "template_number": number,
        "filled": ".".join(vocabulary.decode(tokens[k] for k in gap) for gap in opened.gaps),
        "filled_places": [k for gap in opened.gaps for k in gap],
    }  # fmt: skip


def token_failure(error: TokenError, title: str = "") -> Failure:
    """A string that the model cannot take, as a row's reason."""
    return Failure.because(error.code, str(error), title=title)
