"""The error tree of the chemistry storey.

ChemistryError
    BadStructureError   a structure that cannot exist as data: wrong shape, NaN
        UnknownElementError   a symbol or number that is no element
    BadFormatError      a request for a format that is not known
    DrawingUnavailableError   RDKit's drawing code cannot be loaded on this machine
    DatasetError        a data set that is absent, damaged or not what it claims to be
"""

from __future__ import annotations


class ChemistryError(Exception):
    """Base of every error that this storey raises; `code` is stable and safe to show to clients."""

    code = "chemistry"


class BadStructureError(ChemistryError, ValueError):
    """A structure that cannot be built from the given numbers."""

    code = "bad-structure"


class UnknownElementError(BadStructureError):
    """A symbol or number that is no element."""


class BadFormatError(ChemistryError, ValueError):
    """A molecular file format that is not known."""

    code = "bad-format"


class DrawingUnavailableError(ChemistryError, RuntimeError):
    """RDKit's drawing code cannot be loaded; molecules can be had without drawings."""

    code = "drawing-unavailable"


class DatasetError(ChemistryError):
    """A data set that is absent, damaged or not the one expected."""

    code = "dataset"
