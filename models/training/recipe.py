"""A training recipe: one readable TOML file a model."""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from models.core.errors import ConfigError

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True, config={"extra": "forbid"})
class Optimizer:
    """AdamW, or Muon for hidden matrices beside AdamW for the rest (`kind`), on `learning_rate`, warmed up over
    `warmup` molecules, constant, then linear to zero over the last `cooldown` molecules; gradients are clipped at
    norm `clip`. `momentum` and `matrix_rate`, the learning rate of matrices as a multiple of the others', are Muon's.
    """

    kind: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.95
    matrix_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: int = 25_600
    cooldown: int = 0


@dataclass(frozen=True, config={"extra": "forbid"})
class Recipe:
    """What to train, on what, for how long.

    molecules: length of the run, in molecules seen. batch: molecules per optimizer step over all processes,
    taken from size buckets of `bucket`. ema: decay per step of the averaged weights, which are the ones kept.
    compile: compile the blocks of an EGNN, on a CPU. replay: record a bucket's work on a GPU and replay it, for
    models whose loss neither waits for the GPU nor branches on its values.
    """

    name: str
    family: str
    data: str
    title: str = ""
    summary: str = ""
    papers: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    molecules: int = 2_500_000
    batch: int = 128
    bucket: int = 64
    ema: float = 0.999
    seed: int = 0
    compile: bool = True
    replay: bool = False
    optimizer: Optimizer = field(default_factory=Optimizer)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.batch, self.bucket, self.molecules) < 1:
            raise ConfigError(
                "batch, bucket and molecules must be at least 1, but are "
                f"{self.batch}, {self.bucket}, {self.molecules}."
            )
        if self.batch % self.bucket:
            raise ConfigError(f"batch {self.batch} must be a multiple of bucket {self.bucket}.")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is {self.ema}, but must lie in 0..1.")


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name or any TOML file by path. Raises ConfigError for unknown names and keys."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        shipped = sorted(file.stem for file in FOLDER.glob("*.toml"))
        raise ConfigError(f"no recipe {name_or_path!r}; shipped recipes are {shipped}, or give a .toml file.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigError(f"recipe {path.name} is not valid TOML: {error}.") from error
    try:
        return TypeAdapter(Recipe).validate_python({"name": path.stem, **values})
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"recipe {path.name}: {'; '.join(faults)}.") from error
