"""Molecules read as graphs: their SMILES, without coordinates, in children that can be killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chemistry.check import check
from chemistry.fingerprints import FINGERPRINTS, Bits, canonical, fingerprints
from chemistry.reasons import Failure
from workers.adapters.molecules import Record, read_record

LONGEST = 4096
"""Characters of a SMILES line."""


@dataclass(frozen=True)
class Fingerprinted:
    """A molecule's canonical SMILES, title and bits of every kind."""

    smiles: str
    title: str
    bits: dict[str, Bits]


def read_smiles_of(record: Record) -> tuple[str, str] | Failure:
    """SMILES and title of a record; a SMILES record is not embedded, other formats tell their bonds."""
    text, form, _ = record
    if form == "smiles":
        smiles, _, title = text.strip().partition("\t" if "\t" in text else " ")
        if len(smiles) > LONGEST:
            return Failure.because("too-large", f"{len(smiles)} characters; the limit is {LONGEST}")
        found = canonical(smiles)
        return found if isinstance(found, Failure) else (found, title.strip())
    structure = read_record(record)
    if isinstance(structure, Failure):
        return structure
    report = check(structure)
    if report.smiles is None:
        return Failure(report.reasons, structure.title)
    return report.smiles, structure.title


def read_fingerprints(records: Sequence[Record]) -> list[Fingerprinted | Failure]:
    """In a guarded child: SMILES and fingerprints of some records."""
    return [_fingerprinted(record) for record in records]


def _fingerprinted(record: Record) -> Fingerprinted | Failure:
    read = read_smiles_of(record)
    if isinstance(read, Failure):
        return read
    found = fingerprints(read[0])
    if isinstance(found, Failure):
        return Failure(found.reasons, read[1])
    return Fingerprinted(read[0], read[1], {str(kind): found[kind] for kind in FINGERPRINTS})
