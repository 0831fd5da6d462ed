"""Descriptors of molecules from their graph: rows of mixed kinds, and fingerprints of counts."""

from __future__ import annotations

from chemistry.descriptors.fingerprints import BITS, count_fingerprint
from chemistry.descriptors.reading import Described, describe
from chemistry.descriptors.table import DESCRIPTORS, NAMES, Descriptor, descriptor_row

__all__ = [
    "BITS",
    "DESCRIPTORS",
    "NAMES",
    "Described",
    "Descriptor",
    "count_fingerprint",
    "describe",
    "descriptor_row",
]
