"""Weights and cards on disk."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from models.core.errors import CheckpointError

# The whole periodic table is chemistry's business; these are the elements of today's data sets.
SYMBOLS = {
    1: "H", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F", 13: "Al", 14: "Si", 15: "P", 16: "S", 17: "Cl",
    33: "As", 35: "Br", 53: "I", 80: "Hg", 83: "Bi",
}  # fmt: skip


SHIPPED = Path(__file__).parent


def find_card(model: str) -> Path:
    """The card of a shipped model by id, or any card by path. Raises CheckpointError when there is none."""
    path = Path(model)
    if path.suffix != ".json":
        path = SHIPPED / f"{model}.json"
    if not path.is_file():
        known = sorted(file.stem for file in SHIPPED.glob("*.json"))
        raise CheckpointError(f"no model {model!r}; shipped models are {known}, or give the path of a card.")
    return path


def family_class(family: str) -> type[nn.Module]:
    """The model class of a family, `models.FAMILY.model_class()`. Raises CheckpointError for an unknown family."""
    if not family.isidentifier():
        raise CheckpointError(f"{family!r} is not a family name.")
    try:
        build = importlib.import_module(f"models.{family}").model_class
    except (ModuleNotFoundError, AttributeError) as error:
        raise CheckpointError(f"no model family {family!r} is installed.") from error
    return build()  # type: ignore[no-any-return]


def file_hash(path: Path) -> str:
    """sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(card: Mapping[str, Any], weights_path: Path, device: str | torch.device = "cpu") -> nn.Module:
    """The model of a card with its weights, in evaluation mode on `device`.

    Raises CheckpointError when the file is missing, is not the one the card names, or does not fit the card.
    """
    if not weights_path.is_file():
        raise CheckpointError(f"weights file {weights_path.name} is missing; install it beside its card.")
    missing = [name for name in ("family", "config", "weights") if name not in card]
    if missing:
        raise CheckpointError(f"the card of {weights_path.name} lacks {', '.join(missing)}.")
    wanted, found = card["weights"]["sha256"], file_hash(weights_path)
    if wanted != found:
        raise CheckpointError(
            f"{weights_path.name} has sha256 {found[:16]}..., but its card says {wanted[:16]}...: "
            "the file was altered or belongs to another card."
        )
    model: nn.Module = family_class(card["family"])(card["config"])
    try:
        model.load_state_dict(load_file(weights_path))
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path.name} is no safetensors file: {error}") from error
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights_path.name} does not fit the configuration of its card: {error}"
        ) from error
    return model.to(device).eval().requires_grad_(False)


def save_model(model: nn.Module, card: Mapping[str, Any], folder: Path) -> Path:
    """Write NAME.safetensors and NAME.json for `card["id"]`; returns the card's path.

    The weights come first and each file is renamed into place, so a reader never sees a card without weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{card['id']}.safetensors"
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    temporary = weights.with_suffix(".tmp")
    temporary.touch()
    mode = stat.S_IMODE(temporary.stat().st_mode)
    save_file(state, temporary)
    temporary.chmod(mode)  # as the user's umask has it; safetensors keeps its files from all others
    temporary.replace(weights)
    complete = {
        **card,
        "weights": {
            "file": weights.name,
            "sha256": file_hash(weights),
            "parameters": sum(p.numel() for p in model.parameters()),
            "bytes": weights.stat().st_size,
        },
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return write_card(complete, folder)


def write_card(card: Mapping[str, Any], folder: Path) -> Path:
    """Write NAME.json by rename."""
    path = folder / f"{card['id']}.json"
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
