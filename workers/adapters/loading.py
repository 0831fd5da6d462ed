"""The model of a card, as adapters load it."""

from __future__ import annotations

from typing import Any

from models.core.errors import CheckpointError, ConfigError
from models.core.precision import fast_cpu_arithmetic
from models.weights import load_model
from workers.cards import Card
from workers.problems import ModelUnavailable


def load_weights(given: Card | None, device: str = "cpu") -> tuple[Card, Any]:
    """A card and its model in evaluation mode. Raises ModelUnavailable without weights, or without the card's own."""
    if given is None or given.weights_path is None:
        whose = "this family" if given is None else f"model {given.id}"
        raise ModelUnavailable(f"{whose} needs a card that names its weights")
    try:
        model = load_model(given.model_dump(), given.weights_path, device=device)
    except (CheckpointError, ConfigError) as error:
        raise ModelUnavailable(f"model {given.id}: {error}", model=given.id) from error
    if device == "cpu":
        fast_cpu_arithmetic()
    return given, model
