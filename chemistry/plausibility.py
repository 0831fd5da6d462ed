"""PoseBusters' fast checks of geometry: lengths, angles, clashes, flat rings and double bonds.

Reference: Buttenschoen, Morris, Deane, PoseBusters (2024), https://arxiv.org/abs/2308.05777
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from rdkit import Chem, rdBase

from chemistry.errors import ChemistryError


class PoseBustersUnavailableError(ChemistryError, RuntimeError):
    """The checks were asked for and posebusters is not installed."""

    code = "posebusters-unavailable"

    def __init__(self) -> None:
        super().__init__("these checks need posebusters: pip install 'equimol[quality]'")


@dataclass(frozen=True)
class Plausibility:
    """The outcome of every check by its name, for one molecule."""

    checks: dict[str, bool]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(self.checks.values())


def plausibility(mols: Sequence[Chem.Mol]) -> list[Plausibility]:
    """The checks of molecules with 3D coordinates and bonds, in their order; a check that cannot be made fails.

    Raises PoseBustersUnavailableError when the optional package is missing.
    """
    if find_spec("posebusters") is None:
        raise PoseBustersUnavailableError
    from posebusters import PoseBusters

    if not mols:
        return []
    with rdBase.BlockLogs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table: Any = PoseBusters(config="mol_fast").bust(list(mols), None, None)
    rows = table.to_dict("records")
    return [
        Plausibility({str(name): value is True or bool(value == 1) for name, value in row.items()})
        for row in rows
    ]
