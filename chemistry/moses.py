"""The metrics of MOSES that need no outside network, of sets of SMILES.

valid, unique at k, novel, filters, internal diversity, nearest-neighbor similarity (SNN), fragment and scaffold
similarity, and Wasserstein distances of properties. Reference: Polykovskiy et al., Molecular Sets (2020),
https://doi.org/10.3389/fphar.2020.565644
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import BRICS, QED, rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold
from scipy.stats import wasserstein_distance

from chemistry.datasets.moses import moses_file
from chemistry.errors import DatasetError
from chemistry.fingerprints import tanimoto
from chemistry.reasons import Failure
from chemistry.smiles import parse_smiles

PROPERTIES = ("logP", "SA", "QED", "weight")
_ALLOWED = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}


@dataclass(frozen=True)
class Described:
    """What is compared of a set of valid molecules."""

    smiles: tuple[str, ...]
    fingerprints: NDArray[np.uint8]
    fragments: Counter[str]
    scaffolds: Counter[str]
    properties: Mapping[str, NDArray[np.float64]]
    passed: NDArray[np.bool_]


def describe(strings: Sequence[str]) -> Described:
    """The valid ones among some SMILES, described; about 3 ms each."""
    mols = [mol for text in strings if not isinstance(mol := parse_smiles(text), Failure)]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    score = _sa_scorer()
    with rdBase.BlockLogs():
        scaffolds = Counter(s for mol in mols if (s := _scaffold(mol)))
        properties = {
            "logP": np.array([rdMolDescriptors.CalcCrippenDescriptors(mol)[0] for mol in mols]),
            "SA": np.array([score(mol) for mol in mols]),
            "QED": np.array([QED.qed(mol) for mol in mols]),  # type: ignore[no-untyped-call]
            "weight": np.array([rdMolDescriptors._CalcMolWt(mol) for mol in mols]),
        }
        return Described(
            tuple(Chem.MolToSmiles(mol) for mol in mols),
            np.array([generator.GetFingerprintAsNumPy(mol) for mol in mols], np.uint8).reshape(len(mols), -1),
            Counter(fragment for mol in mols for fragment in _fragments(mol)),
            scaffolds,
            properties,
            np.array([passes_filters(mol) for mol in mols], bool),
        )


def unique_at(smiles: Sequence[str], k: int) -> float:
    """The share of different molecules among the first k valid ones."""
    first = smiles[:k]
    return len(set(first)) / len(first) if first else 0.0


def novelty(smiles: Sequence[str], training: Collection[str]) -> float:
    """The share of different molecules that the training set lacks."""
    different = set(smiles)
    return sum(one not in training for one in different) / len(different) if different else 0.0


def internal_diversity(fingerprints: NDArray[np.uint8], p: int = 1) -> float:
    """1 - (mean T^p)^(1/p) over all pairs, a molecule with itself included, T being Tanimoto similarity."""
    means = [(t**p).mean(1) for t in _similarities(fingerprints, fingerprints)]
    return float(1 - np.concatenate(means).mean() ** (1 / p))


def nearest_similarity(found: Described, reference: Described) -> NDArray[np.float64]:
    """Tanimoto similarity of every molecule with the nearest in the reference; SNN is its mean."""
    return np.concatenate([t.max(1) for t in _similarities(found.fingerprints, reference.fingerprints)])


def _similarities(some: NDArray[np.uint8], many: NDArray[np.uint8]) -> Iterator[NDArray[np.float64]]:
    """Tanimoto similarities, some rows at a time."""
    for start in range(0, len(some), 256):
        yield tanimoto(some[start : start + 256], many)


def cosine(first: Counter[str], second: Counter[str]) -> float:
    """Cosine of two tables of counts: fragment and scaffold similarity."""
    names = first.keys() & second.keys()
    above = sum(first[name] * second[name] for name in names)
    below = np.sqrt(sum(v * v for v in first.values())) * np.sqrt(sum(v * v for v in second.values()))
    return float(above / below) if below else 0.0


def property_distances(found: Described, reference: Described) -> dict[str, float]:
    """Wasserstein distance of each property's distribution."""
    return {
        name: float(wasserstein_distance(found.properties[name], reference.properties[name]))
        for name in PROPERTIES
    }


def passes_filters(mol: Chem.Mol) -> bool:
    """The published filters: allowed elements, no charges, rings of at most 8, no pattern of MCF and PAINS."""
    if any(ring > 8 for ring in map(len, mol.GetRingInfo().AtomRings())):
        return False
    if any(atom.GetFormalCharge() or atom.GetSymbol() not in _ALLOWED for atom in mol.GetAtoms()):
        return False
    whole = Chem.AddHs(mol)
    return not any(whole.HasSubstructMatch(pattern) for pattern in _patterns())


@cache
def _patterns() -> tuple[Chem.Mol, ...]:
    """Medicinal chemistry filters and PAINS, from the data files of molsets."""
    texts = []
    for name in ("metrics/mcf.csv", "metrics/wehi_pains.csv"):
        rows = list(csv.reader(io.StringIO(moses_file(name).decode())))
        if name.endswith("mcf.csv"):
            column = rows[0].index("smarts")
            texts += [row[column] for row in rows[1:]]
        else:
            texts += [row[0] for row in rows if row]
    with rdBase.BlockLogs():
        found = tuple(Chem.MolFromSmarts(text) for text in texts)
    if None in found or not found:
        raise DatasetError("the filter tables of molsets cannot be read; get version 0.3.1")
    return found


def _fragments(mol: Chem.Mol) -> list[str]:
    """The pieces that the BRICS bonds leave, as published: one entry for each piece."""
    pieces = Chem.GetMolFrags(BRICS.BreakBRICSBonds(mol), asMols=True)  # type: ignore[no-untyped-call]
    return [str(Chem.MolToSmiles(piece)) for piece in pieces]


def _scaffold(mol: Chem.Mol) -> str:
    """The Murcko scaffold's SMILES; "" for a molecule without two rings, as published."""
    scaffold = MurckoScaffold.GetScaffoldForMol(mol)  # type: ignore[no-untyped-call]
    rings = scaffold.GetRingInfo().NumRings()
    return str(Chem.MolToSmiles(scaffold)) if rings >= 2 else ""


@cache
def _sa_scorer() -> Any:
    """RDKit's synthetic accessibility score, which it ships beside its package."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DatasetError(f"RDKit's SA_Score is missing at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.calculateScore
