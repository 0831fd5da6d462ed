"""A data set directory: `dataset.json` and, for each split, one `.npy` file per array.

A directory is written under a temporary name and renamed when complete, so that it is either whole or absent.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets.molecules import SPLITS, MoleculeDataset, Split
from chemistry.datasets.text_column import TextColumn
from chemistry.errors import DatasetError

FORMAT = 1
DESCRIPTION = "dataset.json"


def cache_folder() -> Path:
    """Where parsed data sets are kept: EQUIMOL_CACHE, else the user's cache folder."""
    if given := os.environ.get("EQUIMOL_CACHE"):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "equimol"


def named_folder(name: str) -> Path:
    """Where the imported data set `name` is kept. Raises DatasetError when it cannot be a folder's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise DatasetError(f"{name!r} cannot name a data set; use letters, digits, '.', '_' and '-'")
    return cache_folder() / "datasets" / name


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says: splits with sizes and hashes, units of the properties, origin of the data."""

    title: str
    units: Mapping[str, str]
    splits: Mapping[str, Mapping[str, Any]]
    origin: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "title": self.title,
            "units": dict(self.units),
            "splits": {name: dict(values) for name, values in self.splits.items()},
            "origin": dict(self.origin),
        }


def describe(title: str, splits: Mapping[Split, MoleculeDataset], origin: Mapping[str, Any]) -> Description:
    """The description of `splits`, with vocabulary, size histogram and content hash of each."""
    rows: dict[str, dict[str, Any]] = {
        name: {
            "molecules": len(data),
            "atoms": len(data.numbers),
            "content_hash": data.content_hash,
            "elements": {str(number): count for number, count in data.element_counts().items()},
            "size_histogram": {str(size): count for size, count in data.size_histogram().items()},
        }
        for name, data in splits.items()
    }
    units = next(iter(splits.values())).units if splits else {}
    return Description(title, units, rows, origin)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock file beside `folder`; other processes wait here."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(
    folder: Path,
    title: str,
    splits: Mapping[Split, MoleculeDataset],
    origin: Mapping[str, Any],
    extra: Callable[[Path], None] = lambda _: None,
) -> Description:
    """Write a data set directory in one step; `extra` may add files. Raises DatasetError if it exists."""
    if folder.exists():
        raise DatasetError(f"{folder} already exists; choose another name or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        description = describe(title, splits, origin)
        for split, data in splits.items():
            (temporary / split).mkdir()
            for name, array in data.arrays().items():
                np.save(temporary / split / f"{name}.npy", array, allow_pickle=False)
        extra(temporary)
        text = json.dumps(description.summary(), indent=1)
        (temporary / DESCRIPTION).write_text(text + "\n")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return description


def read_description(folder: Path) -> Description:
    """Read `dataset.json`. Raises DatasetError when `folder` holds no data set or one of another format."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"{folder} holds no data set ({DESCRIPTION} is missing)") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DatasetError(f"{path} is not of format {FORMAT}; import the data again")
    return Description(content["title"], content["units"], content["splits"], content["origin"])


def read(folder: Path, split: Split, *, verify: bool = False) -> MoleculeDataset:
    """Map one split from disk; `verify` compares its hash. Raises DatasetError when absent or damaged."""
    if split not in SPLITS:
        raise DatasetError(f"no split {split!r}; choose one of {', '.join(SPLITS)}")
    description = read_description(folder)

    def array(name: str) -> NDArray[Any]:
        path = folder / split / f"{name}.npy"
        try:
            mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read: {error}; make the data set again") from error
        return mapped

    data = MoleculeDataset(
        numbers=array("numbers"),
        positions=array("positions"),
        offsets=array("offsets"),
        smiles=TextColumn(array("smiles"), array("smiles_offsets")),
        names=TextColumn(array("names"), array("names_offsets")),
        properties={name: array(f"property_{name}") for name in description.units},
        units=description.units,
        title=f"{description.title}/{split}",
    )
    wanted = description.splits[split]["content_hash"]
    if verify and data.content_hash != wanted:
        raise DatasetError(
            f"{folder / split} has hash {data.content_hash}, wanted {wanted}; import the data again"
        )
    return data
