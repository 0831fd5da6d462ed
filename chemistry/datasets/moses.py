"""MOSES: 1.9 million drug-like molecules as SMILES, from the data files of the package `molsets`.

Its code is never imported, and it cannot be installed as usual (it asks for pomegranate 0.12.0, which does not
build any more), so the wheel is read as it is: `pip download --no-deps --dest FOLDER molsets==0.3.1`, FOLDER being
the cache folder; or `pip install --no-deps molsets==0.3.1`.
Reference: Polykovskiy et al., Molecular Sets (2020), https://doi.org/10.3389/fphar.2020.565644
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zipfile
from functools import cache
from pathlib import Path
from typing import Literal

from chemistry.datasets import store
from chemistry.errors import DatasetError

MosesSplit = Literal["train", "test", "test_scaffolds"]
SIZES: dict[MosesSplit, int] = {"train": 1_584_663, "test": 176_074, "test_scaffolds": 176_225}
_HASHES = {
    "dataset/data/train.csv.gz": "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
    "dataset/data/test.csv.gz": "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2",
    "dataset/data/test_scaffolds.csv.gz": "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde",
}


def moses_smiles(split: MosesSplit) -> list[str]:
    """The SMILES of a published split, in its order. Raises DatasetError when molsets is missing or altered."""
    lines = gzip.decompress(moses_file(f"dataset/data/{split}.csv.gz")).decode("ascii").split("\n")
    found = [line.partition(",")[0] for line in lines[1:] if line]
    if len(found) != SIZES[split]:
        raise DatasetError(f"the {split} split of MOSES has {len(found)} molecules, wanted {SIZES[split]}")
    return found


def moses_file(name: str) -> bytes:
    """A file of the package, for example "metrics/mcf.csv"; data files are checked by their SHA-256."""
    data = _read(name)
    wanted = _HASHES.get(name)
    if wanted is not None and (found := hashlib.sha256(data).hexdigest()) != wanted:
        raise DatasetError(
            f"{name} of molsets has hash {found[:16]}..., wanted {wanted[:16]}...; get version 0.3.1"
        )
    return data


def _read(name: str) -> bytes:
    wheel = _wheel()
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(f"moses/{name}")
    spec = importlib.util.find_spec("moses")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            "MOSES is read from the wheel of molsets; get it with: "
            f"pip download --no-deps --dest {store.cache_folder()} molsets==0.3.1"
        )
    return (Path(next(iter(spec.submodule_search_locations))) / name).read_bytes()


@cache
def _wheel() -> Path | None:
    found = sorted(store.cache_folder().glob("molsets-0.3.1-*.whl"))
    return found[0] if found else None
