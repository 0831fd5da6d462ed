"""Molecules as token ids, in buckets of equal length ("moses-smiles", "qm9-smiles").

Splits are the published ones. MOSES has no validation split: every 160th molecule of its train split, by hash, is
kept apart for it, and "scaffolds" is its test split of unseen scaffolds.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chemistry.datasets import Split, load_qm9, store
from chemistry.datasets.moses import moses_smiles
from chemistry.errors import DatasetError
from models.strings.tokens import Vocabulary
from models.training.data.buckets import SizeBuckets

FORMAT = 1
HELD_BACK = 160
SPLITS: dict[str, tuple[str, ...]] = {
    "moses-smiles": ("train", "valid", "test", "scaffolds"),
    "qm9-smiles": ("train", "valid", "test"),
}


def load(name: str, split: Split | str) -> StringData:
    """A split, memory-mapped; the first call makes the cache (a minute) while others wait. Raises DatasetError."""
    if name not in SPLITS or split not in SPLITS[name]:
        raise DatasetError(f"no split {split!r} of {name!r}; there are {SPLITS}")
    folder = store.cache_folder() / "strings" / f"{name}-{FORMAT}"
    if not (folder / "strings.json").exists():
        with store.exclusive(folder):
            if not (folder / "strings.json").exists():
                _build(folder, name)
    return StringData.read(folder, split)


def smiles(name: str, split: str) -> list[str]:
    """The SMILES of a split in order. Raises DatasetError."""
    if name == "qm9-smiles":
        return list(load_qm9(split).smiles)  # type: ignore[arg-type]
    if split in ("test", "scaffolds"):
        return moses_smiles("test" if split == "test" else "test_scaffolds")
    chosen: Callable[[str], bool] = _held_back if split == "valid" else lambda text: not _held_back(text)
    return [text for text in moses_smiles("train") if chosen(text)]


def _held_back(text: str) -> bool:
    return zlib.crc32(text.encode()) % HELD_BACK == 0


def _build(folder: Path, name: str) -> None:
    """Write the vocabulary (of the train split, most frequent first) and each split's ids and offsets."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        described: dict[str, Any] = {}
        codes = TokenCodes()
        order: NDArray[np.int64] = np.zeros(0, np.int64)
        for split in SPLITS[name]:
            strings = smiles(name, split)
            found, lengths = codes.encode(strings)
            if split == "train":
                counts = np.bincount(found, minlength=256)
                order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
                vocabulary = Vocabulary(codes.token(int(code)) for code in order)
            table = np.full(256, 255, np.uint8)
            table[order] = np.arange(len(order))
            ids = table[found]
            strange = np.zeros(len(strings), bool)  # strings with tokens that the train split lacks
            strange[np.repeat(np.arange(len(strings)), lengths)[ids == 255]] = True
            ids, lengths = ids[np.repeat(~strange, lengths)], lengths[~strange]
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            (temporary / split).mkdir()
            np.save(temporary / split / "ids.npy", ids, allow_pickle=False)
            np.save(temporary / split / "offsets.npy", offsets, allow_pickle=False)
            described[split] = {
                "strings": len(lengths),
                "left_out": int(strange.sum()),
                "content_hash": content_hash(vocabulary, ids, offsets),
            }
        content = {"format": FORMAT, "name": name, "tokens": vocabulary.tokens, "splits": described}
        (temporary / "strings.json").write_text(json.dumps(content, indent=1) + "\n")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class TokenCodes:
    """One byte per SMILES token for millions of strings at once: a token of several characters gets a free byte."""

    _LONG = re.compile(rb"\[[^\[\]\n]*\]|Br|Cl|%\d\d")

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}

    def token(self, code: int) -> str:
        """The token that a byte stands for."""
        known = {number: token.decode() for token, number in self._codes.items()}
        return known.get(code, chr(code))

    def encode(self, strings: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Codes end to end, and how many each string has. Raises DatasetError when the bytes do not suffice."""
        text = ("\n".join(strings) + "\n").encode("ascii")
        for token in sorted(set(self._LONG.findall(text))):
            self._codes.setdefault(token, 128 + len(self._codes))
        if len(self._codes) > 120:
            raise DatasetError(
                f"{len(self._codes)} tokens of several characters are more than a byte can tell"
            )
        packed = self._LONG.sub(lambda match: bytes([self._codes[match.group()]]), text)
        codes = np.frombuffer(packed, np.uint8)
        ends = np.flatnonzero(codes == ord("\n"))
        return codes[codes != ord("\n")], np.diff(ends, prepend=-1) - 1


def content_hash(vocabulary: Vocabulary, ids: NDArray[np.uint8], offsets: NDArray[np.int64]) -> str:
    """SHA-256 of tokens, ids and offsets."""
    digest = hashlib.sha256("\n".join(vocabulary.tokens).encode())
    digest.update(np.ascontiguousarray(ids).data)
    digest.update(np.ascontiguousarray(offsets, "<i8").data)
    return digest.hexdigest()


@dataclass(frozen=True)
class StringBatch:
    """Strings of one length: tokens `[b, n]` int64; rows are their numbers in the split."""

    tokens: Tensor
    rows: tuple[int, ...] = ()

    @property
    def num_graphs(self) -> int:
        """How many strings; the training loop calls items so."""
        return len(self.tokens)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(self.tokens.to(device), self.rows)


class StringData:
    """One split: ids end to end, string i owns ids offsets[i] to offsets[i + 1]."""

    def __init__(
        self, vocabulary: Vocabulary, ids: NDArray[np.uint8], offsets: NDArray[np.int64], name: str = ""
    ) -> None:
        self.vocabulary, self.ids, self.offsets, self.name = vocabulary, ids, offsets, name
        self.sizes = np.diff(offsets)

    @classmethod
    def of(cls, strings: Sequence[str], vocabulary: Vocabulary) -> StringData:
        """Strings in memory. Raises TokenError."""
        encoded = [vocabulary.encode(text) for text in strings]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
        return cls(vocabulary, np.array([i for ids in encoded for i in ids], np.uint8), offsets)

    @classmethod
    def read(cls, folder: Path, split: str) -> StringData:
        """Map a split of the cache and check it. Raises DatasetError when it is damaged."""
        try:
            content = json.loads((folder / "strings.json").read_text())
            ids = np.load(folder / split / "ids.npy", mmap_mode="r", allow_pickle=False)
            offsets = np.load(folder / split / "offsets.npy", allow_pickle=False)
            wanted = content["splits"][split]["content_hash"]
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(
                f"{folder} cannot be read ({error}); remove it, it will be made again"
            ) from error
        found = cls(Vocabulary(content["tokens"]), ids, offsets, f"{content['name']}/{split}")
        if found.content_hash != wanted:
            raise DatasetError(f"{folder / split} is not what it was; remove {folder}, it will be made again")
        return found

    @cached_property
    def content_hash(self) -> str:
        return content_hash(self.vocabulary, self.ids, self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> list[int]:
        """The ids of string `index`."""
        found: list[int] = self.ids[self.offsets[index] : self.offsets[index + 1]].tolist()
        return found

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[StringBatch]:
        for rows in SizeBuckets(self.sizes, bucket, seed, start=start, process=process, processes=processes):
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> StringBatch:
        """Strings `rows`, all of one length."""
        n = int(self.sizes[rows[0]])
        places = self.offsets[np.asarray(rows)][:, None] + np.arange(n)
        return StringBatch(torch.from_numpy(self.ids[places].astype(np.int64)), tuple(rows))

    def summary(self) -> dict[str, Any]:
        """What a string model's configuration takes from the data: tokens, the longest string, lengths."""
        lengths = Counter(self.sizes.tolist())
        return {
            "tokens": list(self.vocabulary.tokens),
            "longest": int(self.sizes.max()) + 10,  # room for strings a little longer than those seen
            "lengths": {str(n): int(count) for n, count in sorted(lengths.items())},
        }

    def card(self) -> dict[str, Any]:
        elements = {"C", "N", "O", "F", "S", "P", "Cl", "Br", "I", "B", "H"}
        found = {token.strip("[]").rstrip("H").capitalize() for token in self.vocabulary.tokens} | {"H"}
        return {"elements": sorted(elements & found), "notation": self.vocabulary.notation}
