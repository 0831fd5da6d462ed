"""XYZ and extended XYZ: a count line, a comment line, one line per atom."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from chemistry.elements import number_of
from chemistry.errors import BadStructureError
from chemistry.formats.limits import ReadLimits
from chemistry.formats.records import bad_structure, bounded, lines_of, too_long
from chemistry.reasons import Failure
from chemistry.structure import Structure

# key=value, key="quoted value" or a bare key; quotes may hold escaped quotes.
_ITEM = re.compile(r'(?P<key>[^\s="]+)(?:=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s"]*)))?')
_COUNT = re.compile(r"\s*(\d{1,9})\s*")
_COLUMNS_OF_KIND = re.compile(r"([^:\s]+):([SIRL]):(\d{1,3})")


def read_xyz(text: str, limits: ReadLimits) -> Iterator[Structure | Failure]:
    """One item per frame; a bad frame is a Failure and reading goes on at the next count line."""
    return bounded(_frames(lines_of(text), limits), limits)


def write_xyz(structure: Structure, comment: str | None = None) -> str:
    """One frame with eight decimals; without `comment` the comment line is extended XYZ."""
    if comment is None:
        items = {"charge": str(structure.charge), "title": structure.title, **structure.properties}
        stated = [f"{_key(key)}={_quoted(value)}" for key, value in items.items() if value and _key(key)]
        comment = " ".join(["Properties=species:S:1:pos:R:3", *stated])
    lines = [str(structure.n_atoms), " ".join(comment.split())]
    for symbol, (x, y, z) in zip(structure.symbols, structure.positions.tolist(), strict=True):
        lines.append(f"{symbol:<2s} {x:15.8f} {y:15.8f} {z:15.8f}")
    return "\n".join(lines) + "\n"


def atoms_announced(line: str) -> int | None:
    """The number on a count line, or None when it is not one."""
    count = _COUNT.fullmatch(line)
    return int(count[1]) if count else None


def _frames(lines: list[str], limits: ReadLimits) -> Iterator[Structure | Failure]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        n_atoms = atoms_announced(lines[at])
        if n_atoms is None:
            yield Failure.because(
                "bad-record", f"{lines[at][:40]!r} is not a number of atoms (line {at + 1})"
            )
            at = next((i for i in range(at + 1, len(lines)) if atoms_announced(lines[i])), len(lines))
            continue
        frame = lines[at + 1 : at + 2 + n_atoms]
        yield _frame(n_atoms, frame, at, limits)
        at += 2 + n_atoms


def _frame(n_atoms: int, frame: list[str], at: int, limits: ReadLimits) -> Structure | Failure:
    """One structure from its comment and atom lines; `at` is the index of the count line."""
    if n_atoms > limits.max_atoms:
        return Failure.because("too-large", f"{n_atoms} atoms; the limit is {limits.max_atoms}")
    if n_atoms == 0:
        return Failure.because("bad-record", "a frame of no atoms")
    if len(frame) < n_atoms + 1 or not frame[-1].strip():
        found = sum(bool(line.strip()) for line in frame[1:])
        return Failure.because("bad-record", f"{n_atoms} atoms announced but {found} found; is the file cut?")
    if failure := too_long(frame, limits):
        return failure
    items = _comment_items(frame[0]) if "=" in frame[0] else {}
    title = items.pop("title", "" if items else frame[0].strip())
    try:
        species, position = _columns(items.pop("Properties", ""))
        numbers, positions = [], []
        for offset, line in enumerate(frame[1:]):
            fields = line.split()
            if len(fields) <= max(species, position + 2):
                raise BadStructureError(
                    f"line {at + 3 + offset}: {line[:60]!r} is not an atom and three coordinates"
                )
            numbers.append(number_of(fields[species]))
            positions.append([_real(field, at + 3 + offset) for field in fields[position : position + 3]])
        charge = _whole(items.pop("charge", "0"))
        items.pop("Lattice", None)
        items.pop("pbc", None)
        return Structure(np.array(numbers), np.array(positions), charge, title, properties=items)
    except BadStructureError as error:
        return bad_structure(error, title)


def _comment_items(comment: str) -> dict[str, str]:
    """Key and value pairs of an extended XYZ comment; a bare key means true."""
    items = {}
    for match in _ITEM.finditer(comment):
        quoted, plain = match["quoted"], match["plain"]
        items[match["key"]] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or "true"
    return items


def _columns(properties: str) -> tuple[int, int]:
    """Column of the species and first column of the position, from an extended XYZ Properties value."""
    if not properties:
        return 0, 1
    starts, column = {}, 0
    for name, _, width in _COLUMNS_OF_KIND.findall(properties):
        starts[name] = (column, int(width))
        column += int(width)
    species = starts.get("species") or starts.get("Z")
    position = starts.get("pos")
    if species is None or position is None or position[1] != 3:
        raise BadStructureError(f"Properties={properties[:80]} names no species and three-column pos")
    return species[0], position[0]


def _real(text: str, line: int) -> float:
    # Fortran writes exponents as D, Mathematica as *^; both occur in published files.
    try:
        return float(text.replace("*^", "e").replace("D", "e").replace("d", "e").replace("_", "?"))
    except ValueError:
        raise BadStructureError(f"line {line}: {text[:20]!r} is not a coordinate") from None


def _whole(text: str) -> int:
    try:
        value = float(text)
        if value != round(value) or abs(value) > 1000:
            raise ValueError
    except (ValueError, OverflowError):
        raise BadStructureError(f"charge {text[:20]!r} is not a whole number") from None
    return round(value)


def _key(name: str) -> str:
    """`name` as a key that an extended XYZ reader takes as one word."""
    return re.sub(r'[\s="]+', "_", name).strip("_")


def _quoted(value: str) -> str:
    value = " ".join(value.split())
    if value and re.fullmatch(r'[^\s="\\]+', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
