"""Many strings at once through RDKit in killable children: which can be read, and how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chemistry.fingerprints import fingerprint, tanimoto
from chemistry.guard import Guard
from chemistry.reasons import Failure
from chemistry.smiles import canonical_smiles

CHUNK = 512
"""Strings that one guarded call reads."""


@dataclass(frozen=True)
class Variant:
    """A valid string: canonical SMILES and Tanimoto similarity to its parent."""

    smiles: str
    tanimoto: float


def readable(guard: Guard, texts: Sequence[str]) -> list[bool]:
    """Which strings RDKit accepts; those of a call that died are not."""
    out: list[bool] = []
    for start in range(0, len(texts), CHUNK):
        part = list(texts[start : start + CHUNK])
        answer = guard.call(_readable, part)
        out += [False] * len(part) if isinstance(answer, Failure) else answer
    return out


def _readable(texts: Sequence[str]) -> list[bool]:
    return [canonical_smiles(text) is not None for text in texts]


def alike_all(guard: Guard, parent: str, texts: Sequence[str]) -> list[Variant | None]:
    """Every string as a variant of its parent; None for one that RDKit refuses."""
    answer = guard.call(_alike, parent, list(texts))
    return [None] * len(texts) if isinstance(answer, Failure) else answer


def _alike(parent: str, texts: Sequence[str]) -> list[Variant | None]:
    own = fingerprint(parent, "morgan")
    if isinstance(own, Failure):
        return [None] * len(texts)
    out: list[Variant | None] = []
    for text in texts:
        smiles = canonical_smiles(text)
        bits = None if smiles is None else fingerprint(smiles, "morgan")
        if smiles is None or bits is None or isinstance(bits, Failure):
            out.append(None)
        else:
            out.append(Variant(smiles, float(tanimoto(own, bits[None])[0])))
    return out
