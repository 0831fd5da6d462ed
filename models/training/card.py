"""The card of a freshly trained model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from models.training.data import TrainingData
from models.training.recipe import Recipe
from models.training.state import Progress


def new_card(recipe: Recipe, model: nn.Module, data: TrainingData, progress: Progress) -> dict[str, Any]:
    """Everything a card says before the model is evaluated."""
    return {
        "id": recipe.name,
        "family": recipe.family,
        "title": recipe.title or recipe.name,
        "summary": recipe.summary,
        "papers": list(recipe.papers),
        "licence": "MIT",
        "capabilities": list(recipe.capabilities),
        **data.card(),
        "config": model.config,
        "defaults": recipe.defaults,
        "training": {
            "recipe": recipe.name,
            "data": recipe.data,
            "data_sha256": data.content_hash,
            "data_items": len(data),
            **asdict(progress),
            "batch": recipe.batch,
            "ema": recipe.ema,
            "optimizer": asdict(recipe.optimizer),
            "loss": recipe.loss,
        },
        "metrics": [],
    }
