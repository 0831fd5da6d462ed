"""The file of a compressed library. No torch and no NumPy: the API reads its head to refuse a wrong one at once.

magic, version, SHA-256 of the model's weights, SHA-256 of the rest | number of molecules, network calls, order |
per block: molecules, bytes | size and zlib of the texts kept as they are (strings without a code, titles) | codes.
A block is decoded alone, so any molecule is found by decoding one block.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from models.core.errors import EquimolError

MAGIC = b"EQMLIB\x00\x02"
"""The last byte is the version, of the layout and of the integer arithmetic that the codes were made with."""
HEAD = len(MAGIC) + 64
MOST_TEXT = 64 * 2**20


class LibraryError(EquimolError, ValueError):
    """A file that is no compressed library, or is cut short, altered, or of another model."""


@dataclass(frozen=True)
class Block:
    """Some molecules in a row and their code."""

    molecules: int
    code: bytes


@dataclass(frozen=True)
class Library:
    """A compressed library. `raw` holds strings without a code by number, `titles` those that are not empty."""

    model: str
    order: str
    steps: int
    blocks: tuple[Block, ...]
    raw: Mapping[int, str] = field(default_factory=dict)
    titles: Mapping[int, str] = field(default_factory=dict)

    @property
    def molecules(self) -> int:
        """How many there are."""
        return sum(block.molecules for block in self.blocks)

    def place(self, index: int) -> tuple[int, int]:
        """Block and number within it of molecule `index`. Raises IndexError."""
        if not 0 <= index < self.molecules:
            raise IndexError(index)
        start = 0
        for number, block in enumerate(self.blocks):
            if index < start + block.molecules:
                return number, index - start
            start += block.molecules
        raise IndexError(index)

    def starts(self) -> list[int]:
        """The number of each block's first molecule."""
        return [0, *accumulate(block.molecules for block in self.blocks)][:-1]


def number(value: int) -> bytes:
    """A number in seven bits a byte, the last byte without the high bit."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def numbers(data: bytes, start: int, count: int) -> tuple[list[int], int]:
    """`count` numbers from `start`, and where they end. Raises LibraryError at the end of the data."""
    out = []
    for _ in range(count):
        value = shift = 0
        while True:
            if start >= len(data) or shift > 56:
                raise LibraryError("the library is damaged: a number has no end.")
            value |= (data[start] & 127) << shift
            start += 1
            shift += 7
            if data[start - 1] < 128:
                break
        out.append(value)
    return out, start


def write(library: Library) -> bytes:
    """The file's bytes."""
    texts = {"raw": library.raw, "titles": library.titles} if library.raw or library.titles else {}
    packed = zlib.compress(json.dumps(texts, separators=(",", ":")).encode(), 9) if texts else b""
    order = library.order.encode()
    head = number(len(library.blocks)) + number(library.steps) + number(len(order)) + order
    sizes = b"".join(number(block.molecules) + number(len(block.code)) for block in library.blocks)
    rest = head + sizes + number(len(packed)) + packed + b"".join(block.code for block in library.blocks)
    return MAGIC + bytes.fromhex(library.model) + hashlib.sha256(rest).digest() + rest


def read(data: bytes) -> Library:
    """A library from its bytes. Raises LibraryError: no library, cut short, altered."""
    if not data.startswith(MAGIC[:6]):
        raise LibraryError("this is no compressed library.")
    if not data.startswith(MAGIC):
        raise LibraryError(
            "the library is of another version of the format; decompress it with the version it is of."
        )
    if len(data) <= HEAD:
        raise LibraryError(f"the library is cut short: {len(data)} bytes.")
    rest = data[HEAD:]
    if hashlib.sha256(rest).digest() != data[HEAD - 32 : HEAD]:
        raise LibraryError("the library is cut short or altered: its checksum does not fit.")
    (count, steps, size), at = numbers(rest, 0, 3)
    order = rest[at : at + size].decode("ascii", errors="replace")
    at += size
    if count > len(rest):
        raise LibraryError("the library is damaged: it names more blocks than it has bytes.")
    sizes, at = numbers(rest, at, 2 * count)
    (packed,), at = numbers(rest, at, 1)
    texts = _texts(rest[at : at + packed])
    at += packed
    blocks = []
    for molecules, length in zip(sizes[::2], sizes[1::2], strict=True):
        blocks.append(Block(molecules, rest[at : at + length]))
        at += length
    if at != len(rest):
        raise LibraryError("the library is damaged: its blocks do not fill it.")
    found = Library(data[len(MAGIC) : HEAD - 32].hex(), order, steps, tuple(blocks), *texts)
    return found


def _texts(packed: bytes) -> tuple[dict[int, str], dict[int, str]]:
    if not packed:
        return {}, {}
    opener = zlib.decompressobj()
    try:
        text = opener.decompress(packed, MOST_TEXT)
        if not opener.eof:
            raise LibraryError(f"the library's texts take more than {MOST_TEXT} bytes.")
        found = json.loads(text)
        return tuple({int(k): str(v) for k, v in found[name].items()} for name in ("raw", "titles"))  # type: ignore[return-value]
    except (zlib.error, ValueError, KeyError, AttributeError) as error:
        raise LibraryError(f"the library's texts are damaged: {error}") from error


def check_model(library: Library, sha256: str) -> None:
    """Raise LibraryError when the library was written with other weights."""
    if library.model != sha256:
        raise LibraryError(
            f"the library was compressed with the weights {library.model[:16]}..., but this model has "
            f"{sha256[:16]}...; only the same weights give the same probabilities"
        )


def joined(parts: Iterable[Block]) -> tuple[Block, ...]:
    """Blocks without the empty ones."""
    return tuple(block for block in parts if block.molecules)
