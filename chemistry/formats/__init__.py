"""Molecules in and out of text. Call the readers inside a `Guard` when the text is foreign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from chemistry.errors import BadFormatError
from chemistry.formats.limits import ReadLimits
from chemistry.formats.sdf import read_sdf, write_sdf
from chemistry.formats.smiles import embed, read_smiles, write_smiles
from chemistry.formats.xyz import read_xyz, write_xyz
from chemistry.reasons import Failure
from chemistry.structure import Structure

Format = Literal["sdf", "xyz", "smiles"]
FORMATS: tuple[Format, ...] = get_args(Format)

__all__ = [
    "FORMATS",
    "Format",
    "ReadLimits",
    "embed",
    "read_structures",
    "write_sdf",
    "write_smiles",
    "write_xyz",
]


def read_structures(
    text: str,
    format: Format,
    *,
    limits: ReadLimits | None = None,
    seed: int = 0,
    add_hydrogens: bool = False,
) -> Iterator[Structure | Failure]:
    """One item per record of `text`, in order: a structure, or why there is none; never an exception.

    `seed` is for SMILES, `add_hydrogens` for SDF. Raises BadFormatError at once for another format.
    """
    limits = limits or ReadLimits()
    if format == "sdf":
        return read_sdf(text, limits, add_hydrogens=add_hydrogens)
    if format == "xyz":
        return read_xyz(text, limits)
    if format == "smiles":
        return read_smiles(text, limits, seed=seed)
    raise BadFormatError(f"no format {format!r}; choose one of {', '.join(FORMATS)}")
