"""Greedy training: a model that grows layer by layer instead of following one loss."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.training.data import TrainingData
from models.training.log import TrainingLog
from models.training.loop import Run
from models.training.recipe import Recipe
from models.training.state import Progress


@runtime_checkable
class Greedy(Protocol):
    """What greedy training needs of a model, which is also an `nn.Module`."""

    def grow(
        self,
        train: Any,
        valid: Any,
        options: Mapping[str, Any],
        *,
        seed: int,
        done: int,
        state: Mapping[str, Tensor] | None,
        grown: Mapping[str, Any] | None,
    ) -> Iterator[dict[str, float]]:
        """Propose one layer after the other, leaving the model whole before every yield of figures for the log.

        `done` proposals were made before; the model they left is rebuilt from its `grown` config and `state`.
        """


def train(recipe: Recipe, model: Any, data: TrainingData, valid: TrainingData, run: Run) -> Progress:
    """Grow `model` in place until its proposals or the time are used up; a checkpoint after every proposal."""
    checkpoint = run.folder / "checkpoint.safetensors"
    progress, state, grown = Progress(), None, None
    if run.resume and checkpoint.exists():
        progress, state, grown = load(checkpoint)
    started, before = time.monotonic(), progress.seconds
    log = TrainingLog(run.folder, total=recipe.molecules, every=1)
    with log:
        proposals = model.grow(
            data, valid, recipe.loss, seed=recipe.seed, done=progress.step, state=state, grown=grown
        )
        for figures in proposals:
            progress.step += 1
            progress.molecules += int(figures.pop("molecules"))
            progress.seconds = before + time.monotonic() - started
            log.step(
                progress, {"loss": figures["after"], **figures}, math.nan, recipe.optimizer.learning_rate
            )
            save(checkpoint, model, progress)
            if time.monotonic() - started > run.time_limit:
                break
    return progress


def save(path: Path, model: nn.Module, progress: Progress) -> None:
    """Write a checkpoint to a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    about = {"progress": json.dumps(asdict(progress)), "config": json.dumps(model.config)}
    save_file(tensors, temporary, about)
    temporary.replace(path)


def load(path: Path) -> tuple[Progress, dict[str, Tensor], dict[str, Any]]:
    """Progress, tensors and the config of the model that a checkpoint holds."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    return Progress(**json.loads(about["progress"])), state, json.loads(about["config"])
