"""2D drawings: SVG for pages, PNG for files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Geometry import Point2D

from chemistry.errors import BadStructureError, DrawingUnavailableError

if TYPE_CHECKING:
    from rdkit.Chem.Draw import rdMolDraw2D

    from chemistry.check import Report

# Middle tones that stand out on white and on a dark page alike.
_PALETTE = {
    0: "#808890",
    1: "#808890",
    6: "#808890",
    7: "#4c82fb",
    8: "#e5484d",
    9: "#30a46c",
    15: "#e5780f",
    16: "#c08a00",
    17: "#30a46c",
    35: "#b4593a",
    53: "#8e5bd0",
}
_MARK = (0.90, 0.28, 0.30, 0.40)
_GOOD, _DOUBTFUL, _BAD = (0.19, 0.64, 0.42), (0.95, 0.65, 0.15), (0.90, 0.28, 0.30)
_STYLE = re.compile(r"style='([^']*)'")


def drawing_code() -> Any:
    """RDKit's drawing module, which alone needs libraries of the X window system.

    A bare server lacks them. Raises DrawingUnavailableError saying what to install.
    """
    try:
        from rdkit.Chem.Draw import rdMolDraw2D
    except ImportError as error:
        raise DrawingUnavailableError(
            f"RDKit cannot draw on this machine ({error}); on Debian or Ubuntu: apt install libxrender1 libxext6"
        ) from error
    return rdMolDraw2D


def draw_svg(report: Report, width: int = 240, height: int = 180) -> str:
    """A drawing with a clear background that reads on light and dark pages; atoms with reasons are marked.

    All styling is in attributes, so that a page with a strict content security policy can hold it.
    """
    drawer = drawing_code().MolDraw2DSVG(width, height)
    _draw(drawer, report)
    text = str(drawer.GetDrawingText()).replace("<?xml version='1.0' encoding='iso-8859-1'?>\n", "")
    text = text.replace("#000000", _PALETTE[6])  # the dots of radicals
    return _STYLE.sub(lambda match: _attributes(match[1]), text)


def draw_png(report: Report, width: int = 480, height: int = 360) -> bytes:
    """A drawing on white, as PNG bytes."""
    drawer = drawing_code().MolDraw2DCairo(width, height)
    _draw(drawer, report)
    return bytes(drawer.GetDrawingText())


def draw_grid_png(
    items: Sequence[tuple[Report | str, str]],
    path: Path,
    *,
    columns: int = 4,
    cell: tuple[int, int] = (300, 260),
) -> None:
    """Write a grid of drawings with a legend each; a report's frame is green when all is well, amber when it
    is valid but has reasons, red when it is not valid.

    An item is a Report or a SMILES. Raises BadStructureError for a SMILES that RDKit refuses.
    """
    if not items:
        raise BadStructureError("nothing to draw; give at least one molecule")
    width, height = cell
    columns = min(columns, len(items))
    canvas = width * columns, height * ceil(len(items) / columns)
    drawer = drawing_code().MolDraw2DCairo(*canvas, width, height)
    options = _options(drawer)
    options.clearBackground = True
    options.drawMolsSameScale = False
    options.legendFontSize = 18
    options.padding = 0.08
    prepared = [_prepared(item) if isinstance(item, str) else _depiction(item) for item, _ in items]
    drawer.DrawMolecules(
        [mol for mol, _ in prepared],
        legends=[_legend(item, legend) for item, legend in items],
        highlightAtoms=[marked for _, marked in prepared],
        highlightBonds=[[] for _ in prepared],
    )
    for index, (item, _) in enumerate(items):
        if not isinstance(item, str):
            _frame(drawer, (index % columns) * width, (index // columns) * height, cell, _color(item))
    drawer.FinishDrawing()
    _write(path, bytes(drawer.GetDrawingText()))


def _draw(drawer: rdMolDraw2D.MolDraw2D, report: Report) -> None:
    _options(drawer).clearBackground = isinstance(drawer, drawing_code().MolDraw2DCairo)
    mol, marked = _depiction(report)
    with rdBase.BlockLogs():
        drawer.DrawMolecule(mol, highlightAtoms=marked, highlightBonds=[])
    drawer.FinishDrawing()


def _options(drawer: rdMolDraw2D.MolDraw2D) -> Any:  # the stubs forbid setting its attributes
    options: Any = drawer.drawOptions()
    options.prepareMolsBeforeDrawing = False
    options.setAtomPalette({number: _rgb(color) for number, color in _PALETTE.items()})
    options.setHighlightColour(_MARK)
    options.setLegendColour(_rgb("#404850"))
    options.bondLineWidth = 2
    options.fixedBondLength = 34  # small molecules are not blown up; large ones still shrink
    options.padding = 0.06
    return options


def _depiction(report: Report) -> tuple[Chem.Mol, list[int]]:
    """A molecule laid out in 2D without plain hydrogens, and the atoms to mark."""
    marked = {atom for reason in report.reasons for atom in reason.atoms}
    mol = Chem.RWMol(report.mol)
    for atom in mol.GetAtoms():
        atom.SetIntProp("_place", atom.GetIdx())
    with rdBase.BlockLogs():
        mol.UpdatePropertyCache(strict=False)
        slim = Chem.RemoveHs(mol, sanitize=False)
        if slim.GetNumAtoms() == 0:
            slim = Chem.Mol(mol)
        slim = _laid_out(slim, wedge=report.valid)
    return slim, [atom.GetIdx() for atom in slim.GetAtoms() if atom.GetIntProp("_place") in marked]


def _prepared(smiles: str) -> tuple[Chem.Mol, list[int]]:
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise BadStructureError(f"{smiles[:80]!r} is not a valid SMILES")
        return _laid_out(mol, wedge=True), []


def _laid_out(mol: Chem.Mol, *, wedge: bool) -> Chem.Mol:
    if mol.GetNumBonds() == 0 and mol.GetNumConformers():
        _project(mol)
        return mol
    if wedge and mol.GetNumConformers():
        Chem.AssignStereochemistryFrom3D(mol)
    rdDepictor.Compute2DCoords(mol, canonOrient=True)
    if not wedge:
        Chem.FastFindRings(mol)  # the drawer asks for rings, and sanitization did not get that far
    prepared: Chem.Mol = drawing_code().PrepareMolForDrawing(
        mol, kekulize=wedge, addChiralHs=False, wedgeBonds=wedge, forceCoords=False
    )
    return prepared


def _project(mol: Chem.Mol) -> None:
    """Lay out loose atoms as seen along the axis in which they spread least."""
    conformer = mol.GetConformer()
    positions = conformer.GetPositions()
    centered = positions - positions.mean(axis=0)
    plane = np.linalg.svd(centered, full_matrices=False)[2][:2]
    flat = np.zeros_like(centered)
    flat[:, : len(plane)] = centered @ plane.T
    conformer.SetPositions(flat)
    conformer.Set3D(False)
    Chem.FastFindRings(mol)


def _legend(item: Report | str, legend: str) -> str:
    if isinstance(item, str):
        return legend
    codes = list(dict.fromkeys(reason.code for reason in item.reasons))
    verdict = ("valid, but " if codes else "valid") if item.valid else "invalid: "
    verdict += ", ".join(codes[:2])
    return f"{legend}  {verdict}" if legend else verdict


def _color(report: Report) -> tuple[float, float, float]:
    if not report.valid:
        return _BAD
    return _DOUBTFUL if report.reasons else _GOOD


def _frame(
    drawer: rdMolDraw2D.MolDraw2D,
    left: int,
    top: int,
    cell: tuple[int, int],
    color: tuple[float, float, float],
) -> None:
    drawer.SetColour(color)
    drawer.SetFillPolys(False)
    drawer.SetLineWidth(3)
    near, far = Point2D(left + 4, top + 4), Point2D(left + cell[0] - 4, top + cell[1] - 4)
    drawer.DrawRect(near, far, rawCoords=True)


def _attributes(style: str) -> str:
    """`fill:none;stroke:#000` as fill='none' stroke='#000'."""
    declarations = (part.split(":", 1) for part in style.split(";") if ":" in part)
    return " ".join(f"{name.strip()}='{value.strip()}'" for name, value in declarations)


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _write(path: Path, content: bytes) -> None:
    """Write at once or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
