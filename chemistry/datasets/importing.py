"""From a file of molecules to a checked data set: read, judge, split by content, list what was rejected."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from chemistry.check import check
from chemistry.datasets.molecules import SPLITS, MoleculeDataset, MoleculeRecord, Split
from chemistry.formats import Format, ReadLimits, read_structures
from chemistry.formats.streaming import record_texts
from chemistry.guard import Guard
from chemistry.reasons import Failure, Reason
from chemistry.structure import Structure

_BATCH = 32  # records in one guarded call


@dataclass(frozen=True)
class ImportOptions:
    """How a file becomes a data set. Fractions are of the molecules, by hash, so they hold on average."""

    format: Format
    max_atoms: int = 200
    add_hydrogens: bool = False
    keep_disconnected: bool = False
    seed: int = 0
    valid_fraction: float = 0.1
    test_fraction: float = 0.1

    @property
    def limits(self) -> ReadLimits:
        return ReadLimits(max_atoms=self.max_atoms)


@dataclass(frozen=True)
class Accepted:
    """A molecule that passed, with the SMILES of its largest fragment ("" when its bonds make none)."""

    structure: Structure
    smiles: str


@dataclass(frozen=True)
class Rejected:
    """Where a molecule stood in the file (from zero), and why it was left out."""

    index: int
    title: str
    reasons: tuple[Reason, ...]


@dataclass
class Imported:
    """The splits, the rejected molecules, and the named values that were not numbers everywhere."""

    splits: dict[Split, MoleculeDataset]
    rejected: list[Rejected]
    dropped_properties: list[str] = field(default_factory=list)
    without_hydrogens: int = 0

    @property
    def n_accepted(self) -> int:
        return sum(len(data) for data in self.splits.values())

    def rejected_by_code(self) -> Counter[str]:
        """How many molecules were rejected for each first reason."""
        return Counter(item.reasons[0].code for item in self.rejected)


def import_molecules(
    lines: Iterable[str],
    options: ImportOptions,
    guard: Guard,
    progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Read every record of `lines` inside `guard`; `progress` is told the number of records done.

    A record that cannot be read, has clashing atoms or loose fragments, or ends its child process is rejected
    with its reasons; nothing is raised for it.
    """
    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    for index, verdict in enumerate(_verdicts(lines, options, guard)):
        if isinstance(verdict, Failure):
            rejected.append(Rejected(index, verdict.title, verdict.reasons))
        else:
            accepted.append(verdict)
        progress(index + 1)
    names, dropped = _numeric_properties(accepted)
    chosen: dict[Split, list[MoleculeRecord]] = {split: [] for split in SPLITS}
    for item in accepted:
        chosen[split_of(item, options)].append(_record(item, names))
    units = dict.fromkeys(names, "as given")
    return Imported(
        {split: MoleculeDataset.of(records, units, split) for split, records in chosen.items()},
        rejected,
        dropped,
        sum(1 not in item.structure.numbers for item in accepted),
    )


def split_of(item: Accepted, options: ImportOptions) -> Split:
    """The split of a molecule, by a hash of its SMILES (else its formula).

    It depends on nothing else: adding molecules moves none, and conformers of one molecule stay together.
    """
    digest = hashlib.sha256((item.smiles or item.structure.formula).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < options.test_fraction:
        return "test"
    return "valid" if place < options.test_fraction + options.valid_fraction else "train"


def _verdicts(lines: Iterable[str], options: ImportOptions, guard: Guard) -> Iterator[Accepted | Failure]:
    texts = record_texts(lines, options.format, options.limits)
    while batch := list(islice(texts, _BATCH)):
        answer = guard.call(_examine, batch, options)
        if not isinstance(answer, Failure):
            yield from answer
            continue
        for text in batch:  # one record ended the child: find it
            alone = guard.call(_examine, [text], options)
            yield alone if isinstance(alone, Failure) else alone[0]


def _examine(texts: list[str], options: ImportOptions) -> list[Accepted | Failure]:
    """Runs in the guard's child: one verdict for each record."""
    return [_examine_one(text, options) for text in texts]


def _examine_one(text: str, options: ImportOptions) -> Accepted | Failure:
    found = next(
        read_structures(
            text,
            options.format,
            limits=options.limits,
            seed=options.seed,
            add_hydrogens=options.add_hydrogens,
        ),
        Failure.because("bad-record", "an empty record"),
    )
    if isinstance(found, Failure):
        return found
    report = check(found, bond_rule="distance" if found.bonds is None else "given")
    forbidden = {"clash"} if options.keep_disconnected else {"clash", "disconnected"}
    reasons = tuple(reason for reason in report.reasons if reason.code in forbidden)
    if reasons:
        return Failure(reasons, found.title)
    return Accepted(found, report.smiles or "")


def _numeric_properties(accepted: list[Accepted]) -> tuple[list[str], list[str]]:
    """Names that every molecule gives as a finite number, and the other names."""
    numeric: Counter[str] = Counter()
    others: dict[str, None] = {}
    for item in accepted:
        for name, text in item.structure.properties.items():
            if np.isfinite(_number(text)):
                numeric[name] += 1
            else:
                others[name] = None
    names = [name for name, count in numeric.items() if count == len(accepted) and _is_column(name)]
    return names, [name for name in (*numeric, *others) if name not in names]


def _is_column(name: str) -> bool:
    """Whether `name` can be part of a file name."""
    return name.isascii() and name.replace("_", "").replace("-", "").isalnum() and len(name) <= 60


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _record(item: Accepted, names: Iterable[str]) -> MoleculeRecord:
    structure = item.structure
    values: Mapping[str, float] = {name: _number(structure.properties[name]) for name in names}
    numbers = structure.numbers.astype(np.uint8)
    return MoleculeRecord(numbers, structure.positions, values, item.smiles, structure.title)
