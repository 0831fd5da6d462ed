"""QM9: 130,831 small organic molecules with B3LYP geometries and properties, from the package `qm9pack`.

The split is the published one of the equivariant diffusion models: 100,000 / 17,748 / 13,083 molecules.
Reference: Ramakrishnan et al., Quantum chemistry structures and properties of 134 kilo molecules (2014),
https://doi.org/10.1038/sdata.2014.22
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets import store
from chemistry.datasets.molecules import MoleculeDataset, MoleculeRecord, Split
from chemistry.errors import DatasetError

N_MOLECULES = 130_831
SPLIT_SIZES: dict[Split, int] = {"train": 100_000, "valid": 17_748, "test": 13_083}
# SHA-256 of the sorted one-based QM9 indices of each split, as little-endian int64.
SPLIT_HASHES: dict[Split, str] = {
    "train": "c6b40339f272be7bdb91946466ed5ecdf3559a26f314199572daa7d8b62e1bf5",
    "valid": "0266f391732f70177163caf307a004821a04767ae7092bebc2cfef71eac4f783",
    "test": "12405e9c48cab07d3f2de57869ff2756e8febc5b67ec8d6f96f0f3ef4421f068",
}
_ATOMIC_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
# Published name, column of the CSV, unit of the CSV.
_COLUMNS = (
    ("a", "RotA_GHz", "GHz"),
    ("b", "RotB_GHz", "GHz"),
    ("c", "RotC_GHz", "GHz"),
    ("mu", "Dipole_debye", "debye"),
    ("alpha", "Polarizability_bohr3", "bohr^3"),
    ("homo", "HOMO_au", "hartree"),
    ("lumo", "LUMO_au", "hartree"),
    ("gap", "HOMO_LUMO_gap_au", "hartree"),
    ("r2", "R2_bohr2", "bohr^2"),
    ("zpve", "ZPVE_au", "hartree"),
    ("u0", "InternalEnergy_0K_au", "hartree"),
    ("u", "InternalEnergy_298K_au", "hartree"),
    ("h", "Enthalphy_298K_au", "hartree"),
    ("g", "GibbsFreeEnergy_298K_au", "hartree"),
    ("cv", "Heatcapacity_Cv_cal_mol_K", "cal/(mol K)"),
)
UNITS = {name: unit for name, _, unit in _COLUMNS}


def load_qm9(split: Split, cache: Path | None = None) -> MoleculeDataset:
    """One split of QM9, memory-mapped; the first call parses the CSV (about a minute) while others wait.

    Properties are in the units of the CSV (`UNITS`); `published_target` gives the units that papers report.
    Raises DatasetError when qm9pack is not installed or its content is not QM9.
    """
    folder = (cache or store.cache_folder()) / "qm9"
    if not (folder / store.DESCRIPTION).exists():
        with store.exclusive(folder):
            if not (folder / store.DESCRIPTION).exists():
                _build(folder)
    return store.read(folder, split)


def split_indices() -> dict[Split, NDArray[np.int64]]:
    """Row numbers of each split in file order, as published (NumPy's legacy generator with seed 0)."""
    order = np.random.RandomState(0).permutation(N_MOLECULES)
    n_train, n_valid = SPLIT_SIZES["train"], SPLIT_SIZES["valid"]
    return {
        "train": np.sort(order[:n_train]),
        "valid": np.sort(order[n_train : n_train + n_valid]),
        "test": np.sort(order[n_train + n_valid :]),
    }


def _build(folder: Path) -> None:
    source = _source()
    rows = [row for part in (1, 2, 3) for row in _rows(source / f"qm9_part{part}.csv")]
    if len(rows) != N_MOLECULES:
        raise DatasetError(f"{source} holds {len(rows)} molecules, wanted {N_MOLECULES}; reinstall qm9pack")
    numbers = np.array([number for number, _ in rows], dtype="<i8")
    splits: dict[Split, MoleculeDataset] = {}
    for split, indices in split_indices().items():
        found = hashlib.sha256(numbers[indices].tobytes()).hexdigest()
        if found != SPLIT_HASHES[split]:
            raise DatasetError(
                f"QM9 {split} split has hash {found}, wanted {SPLIT_HASHES[split]}; reinstall qm9pack"
            )
        splits[split] = MoleculeDataset.of([rows[i][1] for i in indices], UNITS, f"qm9/{split}")
    origin = {
        "package": "qm9pack",
        "version": importlib.metadata.version("qm9pack"),
        "split_hashes": SPLIT_HASHES,
    }
    store.write(folder, "qm9", splits, origin)


def _source() -> Path:
    # The package cannot be imported on current Python (it needs pkg_resources), but its files can be found.
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            "QM9 is read from the package qm9pack; install it with: pip install 'equimol[train]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _rows(path: Path) -> Iterator[tuple[int, MoleculeRecord]]:
    """QM9 index and molecule of every row of one CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            symbols = row["Elements"].strip("[]").replace("'", "").split(",")
            coordinates = row["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
            if len(coordinates) != 3 * len(symbols):
                raise DatasetError(
                    f"{path}: {row['XYZ_file']} has {len(symbols)} atoms, {len(coordinates)} coordinates"
                )
            record = MoleculeRecord(
                numbers=np.array([_ATOMIC_NUMBERS[symbol] for symbol in symbols], dtype=np.uint8),
                positions=np.array([_number(text) for text in coordinates]).reshape(-1, 3),
                properties={name: _number(row[column]) for name, column, _ in _COLUMNS},
                smiles=row["SMILES"],
                name=row["XYZ_file"].removesuffix(".xyz"),
            )
            yield int(row["Index"]), record


def _number(text: str) -> float:
    # The original files write exponents as in 2.1997*^-6; some releases of the package keep that.
    return float(text.replace("*^", "e"))
