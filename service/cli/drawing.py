"""Draws molecules in a process of its own, because the HTTP storey never loads the chemistry libraries."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from service.cli.exits import CommandError

_MOST = 64


def draw_grid(molecules: Path, picture: Path) -> None:
    """Draw the molecules of an XYZ file as a grid with their validity. Raises CommandError."""
    command = [sys.executable, "-P", "-m", __name__, str(molecules), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise CommandError(f"the drawing {picture} could not be made: {last}")


def _main(molecules: str, picture: str) -> None:
    formats = importlib.import_module("chemistry.formats")
    check = importlib.import_module("chemistry.check").check
    draw = importlib.import_module("chemistry.draw").draw_grid_png
    structures = list(formats.read_structures(Path(molecules).read_text(encoding="utf-8"), "xyz"))[:_MOST]
    reports = [check(structure) for structure in structures if hasattr(structure, "positions")]
    items = [(report, f"#{number} {report.formula}") for number, report in enumerate(reports)]
    draw(items, Path(picture), columns=4 if len(items) <= 16 else 8)


if __name__ == "__main__":
    _main(*sys.argv[1:])
