"""Begin a run from the weights of a trained model instead of random ones: to train on, or on a user's own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

import models.weights as shipped
from models.core.errors import ConfigError
from models.weights import load_model

FOLDER = Path(shipped.__file__).parent


def begin_from(model: nn.Module, name_or_card: str) -> dict[str, Any]:
    """Fill `model` with the weights of a shipped model (its id) or of any card (.json); returns what the card says of
    its training. Weights that `model` has no place for, an EDM's guide, are left behind.

    Raises ConfigError when the model is unknown or lacks weights of the same names and shapes.
    """
    path = Path(name_or_card)
    if path.suffix != ".json":
        path = FOLDER / f"{name_or_card}.json"
    if not path.is_file():
        raise ConfigError(
            f"no model {name_or_card!r} to start from; give the id of a shipped one or its card (.json)."
        )
    card = json.loads(path.read_text(encoding="utf-8"))
    found = load_model(card, path.with_suffix(".safetensors")).state_dict()
    wanted = model.state_dict()
    strange = [
        name for name, value in wanted.items() if name not in found or found[name].shape != value.shape
    ]
    if strange:
        raise ConfigError(
            f"{card['id']} cannot start this recipe: {', '.join(strange[:3])} and {len(strange)} weights in all are "
            "missing or of another shape. Use the recipe it was trained with, on data with the same elements."
        )
    model.load_state_dict({name: found[name] for name in wanted})
    return {
        "model": card["id"],
        "weights_sha256": card["weights"]["sha256"],
        "training": card.get("training", {}),
    }
