"""SDF, V2000 and V3000: RDKit reads and writes the molecule, the data items are ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from rdkit import Chem, rdBase

from chemistry.elements import number_of
from chemistry.errors import BadStructureError
from chemistry.formats.limits import ReadLimits
from chemistry.formats.records import bad_structure, bounded, lines_of, too_long
from chemistry.mol import from_mol, refused_mol, to_mol
from chemistry.reasons import Failure, Reason
from chemistry.structure import Structure

_ITEM_NAME = re.compile(r"<(.+)>")
_END = "$$$$"


def read_sdf(text: str, limits: ReadLimits, *, add_hydrogens: bool = False) -> Iterator[Structure | Failure]:
    """One item per record; a bad record is a Failure and the next one is read.

    Hydrogens are read as given; with `add_hydrogens` the implied ones get coordinates.
    """
    return bounded((_record(lines, limits, add_hydrogens) for lines in _records(lines_of(text))), limits)


def write_sdf(structure: Structure, *, v3000: bool = False) -> str:
    """One record with the structure's bonds, charges and properties; aromatic bonds alternate."""
    mol = to_mol(structure)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        mol = refused_mol(
            structure, structure.bonds or (), structure.atom_charges
        )  # written as it is; the reader decides
    return record_text(mol, structure, v3000=v3000)


def record_text(mol: Chem.Mol, structure: Structure, *, v3000: bool = False) -> str:
    """The SDF record of `mol` with the title and the properties of `structure`."""
    mol = Chem.Mol(mol)
    mol.SetProp("_Name", _one_line(structure.title))
    with rdBase.BlockLogs():
        try:
            block = Chem.MolToMolBlock(mol, forceV3000=v3000)
        except (ValueError, RuntimeError):  # aromatic bonds that have no alternating form
            block = Chem.MolToMolBlock(mol, forceV3000=v3000, kekulize=False)
    items = "".join(_item(name, value) for name, value in structure.properties.items())
    return f"{block}{items}{_END}\n"


def _item(name: str, value: str) -> str:
    # A blank line or $$$$ inside a value would end it, an angle bracket inside a name too.
    lines = [line.rstrip() for line in lines_of(str(value))]
    kept = [f" {line}" if line.startswith((_END, ">")) else line for line in lines if line]
    return f">  <{re.sub(r'[<>]', '_', _one_line(name))}>\n" + "\n".join(kept) + "\n\n"


def _one_line(text: str) -> str:
    return " ".join(text.replace(_END, "$$ $$").split())


def _records(lines: list[str]) -> Iterator[list[str]]:
    start = 0
    for index, line in enumerate(lines):
        if line.startswith(_END):
            yield lines[start:index]
            start = index + 1
    if any(line.strip() for line in lines[start:]):
        yield lines[start:]


def _record(lines: list[str], limits: ReadLimits, add_hydrogens: bool) -> Structure | Failure:
    title = lines[0].strip()[:200] if lines else ""
    if failure := too_long(lines, limits) or _counted(lines, limits):
        return Failure(failure.reasons, title)
    end = next((index for index, line in enumerate(lines) if line.startswith("M  END")), None)
    if end is None:
        return Failure.because("bad-record", "no 'M  END' line; is the file cut?", title=title)
    try:
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock("\n".join(lines[: end + 1]) + "\n", sanitize=False, removeHs=False)
    except (ValueError, RuntimeError) as error:
        return Failure.because("bad-record", f"RDKit cannot read it: {str(error)[:200]}", title=title)
    if mol is None:
        fault = _first_fault(lines[4:end]) or Reason("bad-record", "RDKit cannot read the mol block")
        return Failure((fault,), title)
    try:
        return _structure(mol, title, _items(lines[end + 1 :]), lines[1], add_hydrogens)
    except BadStructureError as error:
        return bad_structure(error, title)
    except (ValueError, RuntimeError) as error:
        return Failure.because("bad-record", f"RDKit cannot use it: {str(error)[:200]}", title=title)


def _structure(
    mol: Chem.Mol, title: str, properties: dict[str, str], program_line: str, add_hydrogens: bool
) -> Structure | Failure:
    if mol.GetNumAtoms() == 0:
        return Failure.because("bad-record", "a molecule of no atoms", title=title)
    flat = not mol.GetConformer().GetPositions()[:, 2].any()
    if flat and program_line[20:22].upper() == "2D" and mol.GetNumAtoms() > 1:
        return Failure.because(
            "flat", "the record is a 2D drawing; give 3D coordinates, or the molecule as SMILES", title=title
        )
    if add_hydrogens:
        try:
            with rdBase.BlockLogs():
                Chem.SanitizeMol(mol)
                mol = Chem.AddHs(mol, addCoords=True)
        except (ValueError, RuntimeError) as error:
            return Failure.because("sanitization", f"hydrogens cannot be added: {error}", title=title)
    return from_mol(mol, title, properties)


def _counted(lines: list[str], limits: ReadLimits) -> Failure | None:
    """A Failure if the record is too short or announces too many atoms."""
    if len(lines) < 4:
        return Failure.because(
            "bad-record", f"a record of {len(lines)} lines; wanted a mol block of 4 or more"
        )
    counts = lines[3]
    if "V3000" in counts:
        stated = next((line.split() for line in lines if line.startswith("M  V30 COUNTS")), [])
        text = stated[3] if len(stated) > 3 else ""
    else:
        text = counts[:3].strip()
    if not (text.isascii() and text.isdigit()):
        return Failure.because(
            "bad-record", f"counts line {counts[:40]!r} does not start with a number of atoms"
        )
    if int(text) > limits.max_atoms:
        return Failure.because("too-large", f"{int(text)} atoms; the limit is {limits.max_atoms}")
    return None


def _first_fault(lines: list[str]) -> Reason | None:
    """Name the first V2000 atom line that cannot be right, since RDKit only logs it."""
    for index, line in enumerate(lines):
        if len(line) < 31:
            return None
        try:
            finite = all(np.isfinite(float(line[start : start + 10])) for start in (0, 10, 20))
        except ValueError:
            finite = False
        if not finite:
            return Reason("bad-record", f"{line[:30]!r} are not three coordinates", (index,))
        try:
            number_of(line[31:34].strip())
        except BadStructureError as error:
            return Reason("unknown-element", str(error), (index,))
    return None


def _items(lines: list[str]) -> dict[str, str]:
    """The data items that follow the mol block."""
    items: dict[str, str] = {}
    name: str | None = None
    for line in lines:
        if line.startswith(">"):
            match = _ITEM_NAME.search(line)
            name = match[1] if match else None
            if name is not None:
                items[name] = ""
        elif not line.strip():
            name = None
        elif name is not None:
            items[name] = f"{items[name]}\n{line}" if items[name] else line
    return items
