"""An imported model on disk: safetensors and a card that says where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.core.errors import ConfigError
from models.published.kinds import Imported, Sizes, import_checkpoint
from models.weights.files import SYMBOLS, file_hash, save_model

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


def new_card(
    found: Imported, name: str, behavior: str, hashes: Mapping[str, str], licence: str
) -> dict[str, Any]:
    """What the card of an imported model says; it has no measured figures until it is evaluated."""
    plain = {
        key: value for key, value in found.arguments.items() if isinstance(value, str | int | float | list)
    }
    config: Mapping[str, Any] = found.model.config  # type: ignore[assignment]
    return {
        "id": name, "family": found.family, "title": found.title,
        "summary": f"Imported from a checkpoint that its authors published; behavior: {behavior}.",
        "papers": list(found.papers), "licence": licence, "capabilities": list(found.capabilities),
        "elements": [SYMBOLS[number] for number in found.data.elements],
        "size_range": [min(found.sizes), max(found.sizes)],
        "size_histogram": {str(n): count for n, count in sorted(found.sizes.items())},
        "config": dict(config), "defaults": {key: dict(value) for key, value in found.defaults.items()},
        "training": {
            "data": "qm9" if found.data.title.endswith("QM9") else found.data.title, "imported": True,
            "behavior": behavior, "files": dict(hashes), "arguments": plain,
        },
        "metrics": [],
    }  # fmt: skip


def save_imported(
    kind: str, source: Path, name: str, out: Path, *,
    behavior: str = "corrected", sizes: Sizes | None = None, licence: str = "", calibrate: int = 5000,
    replace: bool = False,
) -> Path:  # fmt: skip
    """Convert a published checkpoint folder into NAME.safetensors and NAME.json in `out`; returns the card's path.

    A property model gets intervals and a domain flag from `calibrate` molecules of QM9, which must be installed.
    Raises CheckpointError or ConfigError with the obstruction; nothing is written then.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"the name {name!r} is no model id; use small letters, digits, '.' and '-'.")
    if (out / f"{name}.json").exists() and not replace:
        raise ConfigError(f"there is a model {name!r} already; choose another name, or replace it.")
    found = import_checkpoint(kind, source, behavior, sizes)
    files = sorted(path for path in source.iterdir() if path.suffix in (".npy", ".json", ".pickle"))
    hashes = {path.name: file_hash(path) for path in files}
    card = new_card(found, name, behavior, hashes, licence)
    if found.family == "egnn_properties":
        from models.training.calibration import calibrated

        card["calibration"] = calibrated(found.model, calibrate)  # type: ignore[arg-type]
    return save_model(found.model, card, out)
