"""Fingerprints of molecules as bits, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import MACCSkeys, rdFingerprintGenerator

from chemistry.reasons import Failure

FingerprintKind = Literal["maccs", "morgan"]
FINGERPRINTS: tuple[FingerprintKind, ...] = get_args(FingerprintKind)

MACCS_BITS = 166
MORGAN_BITS, MORGAN_RADIUS = 256, 2
BITS: dict[FingerprintKind, int] = {"maccs": MACCS_BITS, "morgan": MORGAN_BITS}

Bits = NDArray[np.uint8]


def fingerprint(smiles: str, kind: FingerprintKind) -> Bits | Failure:
    """The bits (uint8, 0 or 1) of a SMILES: MACCS keys 1 to 166, or Morgan of radius 2 folded to 256 bits."""
    mol = _parsed(smiles)
    return mol if isinstance(mol, Failure) else _bits(mol, kind)


def fingerprints(smiles: str) -> dict[FingerprintKind, Bits] | Failure:
    """Every kind of fingerprint of one SMILES."""
    mol = _parsed(smiles)
    return mol if isinstance(mol, Failure) else {kind: _bits(mol, kind) for kind in FINGERPRINTS}


def canonical(smiles: str) -> str | Failure:
    """RDKit's canonical SMILES of a SMILES."""
    mol = _parsed(smiles)
    return mol if isinstance(mol, Failure) else str(Chem.MolToSmiles(mol))


def _parsed(smiles: str) -> Chem.Mol | Failure:
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return Failure.because("bad-record", f"{smiles[:80]!r} is not a valid SMILES")
    if mol.GetNumAtoms() == 0:
        return Failure.because("bad-record", "a molecule of no atoms")
    return mol


def _bits(mol: Chem.Mol, kind: FingerprintKind) -> Bits:
    out = np.zeros(BITS[kind] + (kind == "maccs"), np.uint8)
    if kind == "maccs":
        DataStructs.ConvertToNumpyArray(MACCSkeys.GenMACCSKeys(mol), out)  # type: ignore[attr-defined]
        return out[1:]  # key 0 is never set
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    DataStructs.ConvertToNumpyArray(maker.GetFingerprint(mol), out)
    return out


def tanimoto(some: Bits, many: Bits) -> NDArray[np.float64]:
    """Tanimoto similarities `[..., n]` of fingerprints `[..., bits]` to many `[n, bits]`; 1 where both are empty."""
    both = some.astype(np.float32) @ many.T.astype(np.float32)  # counts, so exact
    either = many.sum(1, dtype=np.int64) + some.sum(-1, dtype=np.int64)[..., None] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0).astype(np.float64)


def all_fingerprints(smiles: Sequence[str]) -> tuple[dict[FingerprintKind, Bits], NDArray[np.int64]]:
    """Fingerprints of many SMILES, `[kept, bits]` each, and the rows that RDKit could read."""
    kept: list[int] = []
    rows: dict[FingerprintKind, list[Bits]] = {kind: [] for kind in FINGERPRINTS}
    for k, text in enumerate(smiles):
        found = fingerprints(text)
        if isinstance(found, Failure):
            continue
        kept.append(k)
        for kind in FINGERPRINTS:
            rows[kind].append(np.packbits(found[kind]))
    packed = {kind: np.array(rows[kind], np.uint8).reshape(len(kept), -1) for kind in FINGERPRINTS}
    bits = {kind: np.unpackbits(packed[kind], axis=1, count=BITS[kind]) for kind in FINGERPRINTS}
    return bits, np.array(kept, np.int64)
