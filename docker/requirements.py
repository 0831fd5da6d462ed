"""Print the requirements of this project, and of the extras named, one a line.

Usage: requirements.py PYPROJECT [EXTRA...]. The images install them in a layer of their own, which stays
cached until pyproject.toml or constraints.txt changes.
"""

import sys
import tomllib
from pathlib import Path


def main(pyproject: str, *extras: str) -> None:
    """Write the lines to standard output; an unknown extra raises KeyError."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
