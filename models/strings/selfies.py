"""Between SMILES and SELFIES, by the package `selfies` (Krenn et al., 2020), which every SELFIES string decodes with.

Every sequence of SELFIES symbols is a valid molecule, but the way back need not give the same SMILES string.
"""

from __future__ import annotations

import importlib
from typing import Any

from models.core.errors import ConfigError
from models.strings.tokens import TokenError


def selfies_of(smiles: str) -> str:
    """The SELFIES of a SMILES. Raises TokenError when it has none."""
    package = _package()
    try:
        return str(package.encoder(smiles))
    except package.EncoderError as error:
        raise TokenError("bad-token", f"{smiles!r} has no SELFIES: {str(error).splitlines()[0]}") from error


def smiles_of(selfies: str) -> str:
    """The SMILES of a SELFIES. Raises TokenError when a symbol is not known."""
    package = _package()
    try:
        return str(package.decoder(selfies))
    except package.DecoderError as error:
        raise TokenError("bad-token", f"{selfies!r} is no SELFIES: {str(error).splitlines()[0]}") from error


def _package() -> Any:
    try:
        return importlib.import_module("selfies")
    except ModuleNotFoundError as error:
        raise ConfigError("SELFIES need the package selfies: pip install 'equimol[train]'.") from error
