"""A published checkpoint folder: which file is which, and its tensors, opened without running anything in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.core.errors import CheckpointError
from models.published.arguments import read_arguments

ARGUMENTS = ("args.json", "args.pickle")


def find(folder: Path, names: Sequence[str]) -> Path:
    """The first of `names` that the folder has. Raises CheckpointError naming all of them."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"the folder {folder.name!r} has no {' or '.join(names)}.")


def arguments_in(folder: Path) -> dict[str, Any]:
    """The arguments of the run. Raises CheckpointError when there are none."""
    return read_arguments(find(folder, ARGUMENTS))


def read_state(path: Path) -> dict[str, Tensor]:
    """A torch state dict, opened as weights only and brought to the CPU; names without DataParallel's prefix.

    Raises CheckpointError for a file that holds anything but tensors by name.
    """
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises its unpickler's own errors, which are no names to import
        raise CheckpointError(
            f"{path.name} is no torch state dict that can be opened safely: {error}"
        ) from error
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{path.name} holds no state dict, but a {type(found).__name__}.")
    strange = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path.name} has entries that are no tensors: {strange[:3]}.")
    prefix = "module." if all(str(name).startswith("module.") for name in found) else ""
    return {str(name).removeprefix(prefix): value for name, value in found.items()}


def refuse(arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise CheckpointError when a run had settings that its model here would not have."""
    for name, value in wanted.items():
        if arguments.get(name, value) != value:
            raise CheckpointError(
                f"the run was made with {name} = {arguments[name]!r}; only {value!r} can be imported."
            )
