"""Begin a run from the weights of a trained model instead of random ones: to train on, or on a user's own data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.weights import load_model
from models.weights.files import find_card


def widened(value: Tensor, wanted: Tensor, added: int) -> Tensor:
    """A matrix with `added` columns of zeros behind its own where just so many are wanted; all else as it is."""
    if added and value.dim() == 2 and value.shape[1] + added == wanted.shape[1]:
        return F.pad(value, (0, added))
    return value


def begin_from(model: nn.Module, name_or_card: str) -> dict[str, Any]:
    """Fill `model` with the weights of a shipped model (its id) or of any card (.json); returns what the card says of
    its training. Weights that `model` has no place for, an EDM's guide, are left behind; inputs that `model` names as
    added (`added_inputs`) and the start did not have begin at zero, so that the model begins as what it was.

    Raises CheckpointError when the model is unknown or its weights are not its card's, ConfigError when it lacks
    weights of the same names and shapes.
    """
    path = find_card(name_or_card)
    card = json.loads(path.read_text(encoding="utf-8"))
    wanted = model.state_dict()
    added: Mapping[str, int] = getattr(model, "added_inputs", dict)()
    found = {
        name: widened(value, wanted[name], added.get(name, 0))
        for name, value in load_model(card, path.with_suffix(".safetensors")).state_dict().items()
        if name in wanted
    }
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
