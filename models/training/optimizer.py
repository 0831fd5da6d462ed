"""The optimizer of a recipe: AdamW, or Muon for the hidden matrices and AdamW for the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer

from models.core.errors import ConfigError
from models.training.muon import Muon
from models.training.recipe import Optimizer


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weight matrices inside the blocks; those with a single row or column gain nothing from Muon."""
    chosen: dict[int, nn.Parameter] = {}
    for block in model.modules():
        if getattr(block, "hidden_matrices", False):
            for parameter in block.parameters():
                if parameter.dim() == 2 and min(parameter.shape) > 1:
                    chosen[id(parameter)] = parameter
    return list(chosen.values())


def make_optimizers(options: Optimizer, model: nn.Module) -> list[TorchOptimizer]:
    """The optimizers that together own every parameter of `model`.

    Muon (Jordan et al., 2024) orthogonalizes the momentum of a matrix; its step is scaled to the size of AdamW's and
    then by `matrix_rate`. Raises ConfigError for an unknown kind.
    """
    matrices: list[nn.Parameter] = []
    out: list[TorchOptimizer] = []
    if options.kind == "muon":
        matrices = hidden_matrices(model)
        out.append(
            Muon(
                matrices,
                lr=options.learning_rate,
                weight_decay=options.weight_decay,
                momentum=options.momentum,
            )
        )
        out[0].param_groups[0]["share"] = options.matrix_rate
    elif options.kind != "adamw":
        raise ConfigError(f"optimizer kind is {options.kind!r}; choose 'adamw' or 'muon'.")
    owned = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in owned]
    out.append(
        torch.optim.AdamW(
            rest,
            lr=options.learning_rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
            fused=True,
        )
    )
    return out


def set_rate(optimizers: list[TorchOptimizer], rate: float) -> None:
    """Give every group its share of the learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)


def state_of(optimizers: list[TorchOptimizer], parameter: Tensor) -> dict[str, Tensor]:
    """What the owner of `parameter` remembers about it; empty before its first step."""
    for optimizer in optimizers:
        if parameter in optimizer.state:
            return dict(optimizer.state[parameter])
    return {}


def restore_state(optimizers: list[TorchOptimizer], parameter: Tensor, values: dict[str, Tensor]) -> None:
    """Give the owner of `parameter` its memory back; memory of another kind of optimizer is left out."""
    for optimizer in optimizers:
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if id(parameter) in owned:
            muon = isinstance(optimizer, Muon)
            if muon == ("momentum_buffer" in values):
                optimizer.state[parameter] = values
