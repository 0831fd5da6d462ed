"""Checkpoints of a training run: weights, average, optimizer and position, in one safetensors file.

Everything else (order of data, noise) is a function of the recipe's seed and the step, so a resumed run goes on
exactly as if it had never stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.core.errors import CheckpointError
from models.training.optimizer import restore_state, state_of


@dataclass
class Progress:
    """How far a run has come, and on what (the name of a GPU, or cpu)."""

    step: int = 0
    molecules: int = 0
    buckets: int = 0
    seconds: float = 0.0
    device: str = "cpu"


P = TypeVar("P", bound=Progress)


class Average:
    """Exponential moving average of the parameters, with a warm-up so that the start is forgotten quickly."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after `step` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names, current = zip(*module.named_parameters(), strict=True)
        torch._foreach_lerp_([self.values[name] for name in names], list(current), 1 - decay)

    def weights(self, module: nn.Module) -> dict[str, Tensor]:
        """A state dict of averaged parameters and present buffers."""
        return {**module.state_dict(), **self.values}


def save_state(
    path: Path,
    module: nn.Module,
    average: Average,
    optimizers: list[torch.optim.Optimizer],
    progress: Progress,
) -> None:
    """Write a checkpoint to a temporary name, then rename it, so that a kill leaves the last one whole."""
    tensors = {f"weights.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.values.items()}
    for name, parameter in module.named_parameters():
        for key, value in state_of(optimizers, parameter).items():
            tensors[f"optimizer.{name}.{key}"] = torch.as_tensor(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(
        {k: v.detach().contiguous() for k, v in tensors.items()},
        temporary,
        {"progress": json.dumps(asdict(progress))},
    )
    temporary.replace(path)


def load_state(
    path: Path,
    module: nn.Module,
    average: Average,
    optimizers: list[torch.optim.Optimizer],
    kind: type[P] = Progress,  # type: ignore[assignment]
) -> P:
    """Read a checkpoint into the given objects; raises CheckpointError when it belongs to another model.

    `kind` is the progress that was saved, with what a run adds to it.
    """
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        wanted = {f"weights.{name}" for name in module.state_dict()}
        found = {name for name in names if name.startswith("weights.")}
        shapes = {f"weights.{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        strange = sorted(
            (wanted ^ found)
            | {name for name in wanted & found if tuple(file.get_slice(name).get_shape()) != shapes[name]}
        )
        if strange:
            raise CheckpointError(
                f"checkpoint {path} is of another network: {', '.join(strange[:3])} and {len(strange)} in all do not "
                "fit. Use the recipe it was made with, or start in a new folder."
            )
        module.load_state_dict({name: file.get_tensor(f"weights.{name}") for name in module.state_dict()})
        for name in average.values:
            average.values[name].copy_(file.get_tensor(f"average.{name}"))
        for name, parameter in module.named_parameters():
            prefix = f"optimizer.{name}."
            values = {
                key[len(prefix) :]: file.get_tensor(key).to(parameter.device)
                for key in names
                if key.startswith(prefix)
            }
            if values:
                restore_state(optimizers, parameter, values)
        return kind(**json.loads(file.metadata()["progress"]))
