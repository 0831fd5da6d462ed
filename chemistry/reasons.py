"""Why a molecule failed, as data: a stable code, a sentence, and the atoms concerned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Code = Literal[
    "valence",  # an atom whose bonds do not add up to a valence of its element
    "disconnected",  # more than one fragment
    "clash",  # two atoms far closer than any bond
    "sanitization",  # RDKit refuses the molecule
    "timeout",  # the calculation passed its time limit and was stopped
    "memory",  # the calculation passed its memory limit and was stopped
    "crash",  # the calculation ended its process
    "unknown-element",  # an element without data for what was asked
    "too-large",  # beyond a stated limit
    "bad-record",  # text that is not a record of its format
    "bad-token",  # a string that cannot be cut into tokens
    "unknown-token",  # a token that a string model does not know
    "too-long",  # more tokens than a string model takes
    "too-short",  # no tokens at all
    "flat",  # a 2D drawing where 3D coordinates are needed
    "diverged",  # coordinates that are not finite
    "embedding",  # no 3D coordinates could be made
    "no-parameters",  # the energy model does not know an atom or a bond
    "not-minimum",  # no minimum of the energy was found
    "no-vibrations",  # a single atom
    "no-bonds",  # no bonds where their lengths are asked for
    "unknown-bond",  # a kind of bond that the model has not seen
]
CODES: tuple[Code, ...] = get_args(Code)


@dataclass(frozen=True)
class Reason:
    """One reason; `atoms` are zero-based."""

    code: Code
    message: str
    atoms: tuple[int, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A molecule that could not be had, and why."""

    reasons: tuple[Reason, ...]
    title: str = ""

    @classmethod
    def because(cls, code: Code, message: str, *, atoms: tuple[int, ...] = (), title: str = "") -> Failure:
        """A failure with one reason."""
        return cls((Reason(code, message, atoms),), title)

    def __str__(self) -> str:
        return "; ".join(reason.message for reason in self.reasons)
