"""What each choice buys in training speed, in one run on this machine.

    OMP_NUM_THREADS=1 python benchmarks/training_speed.py

Times full training steps (forward, backward, update) of buckets of 64 molecules of 18 atoms. Each choice is
switched off alone, the rest staying as the recipe has it.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

# Two OpenMP threads that wait actively slow each other on a busy machine; must be set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch_geometric.data import Batch, Data

from models.core.precision import network_autocast
from models.core.random import generator
from models.edm.model import EDM
from models.training.loop import compile_blocks
from models.training.optimizer import make_optimizers
from models.training.recipe import Recipe, load_recipe

ATOMS, BUCKET = 18, 64


def speed(
    recipe: Recipe,
    *,
    network: dict[str, Any],
    compiled: bool,
    flush: bool,
    kind: str,
    bfloat16: bool,
    steps: int,
) -> float:
    """Molecules per second."""
    torch.set_flush_denormal(flush)
    torch.manual_seed(0)
    chosen = {**recipe.model["network"], **network}
    model = EDM({**recipe.model, "network": chosen, "elements": [1, 6, 7, 8, 9], "sizes": {str(ATOMS): 1}})
    if compiled:
        compile_blocks(model)
    optimizers = make_optimizers(replace(recipe.optimizer, kind=kind), model)
    source = generator(0, "benchmark")
    numbers = torch.tensor([1, 6, 7, 8, 9])[torch.randint(0, 5, (BUCKET, ATOMS), generator=source)]
    positions = 1.7 * torch.randn(BUCKET, ATOMS, 3, generator=source)
    batch = Batch.from_data_list([Data(z=z, pos=x) for z, x in zip(numbers, positions, strict=True)])
    per_step = recipe.batch // BUCKET

    def step() -> None:
        for _ in range(per_step):
            with network_autocast(torch.device("cpu")) if bfloat16 else nullcontext():
                losses = model.loss(batch, options=recipe.loss, generator=source)
            (losses["loss"].sum() / recipe.batch).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * recipe.batch / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps timed for each row")
    options = parser.parse_args()
    recipe = load_recipe("edm-qm9")
    shipped: dict[str, Any] = {
        "network": {},
        "compiled": True,
        "flush": True,
        "kind": "muon",
        "bfloat16": True,
    }
    rows = {
        "as in the recipe": {},
        "AdamW instead of Muon": {"kind": "adamw"},
        "float32 throughout": {"bfloat16": False},
        "without compilation": {"compiled": False},
        "without compilation, denormals kept": {"compiled": False, "flush": False},
        "without compilation, directed messages": {"compiled": False, "network": {"symmetric": False}},
        "192 wide, 8 layers": {"network": {"width": 192, "layers": 8}},
        "messages 128 wide": {"network": {"message_width": 128}},
    }
    print(f"{torch.get_num_threads()} thread(s), {BUCKET} molecules of {ATOMS} atoms")
    for name, change in rows.items():
        print(
            f"{name:42} {speed(recipe, steps=options.steps, **{**shipped, **change}):8.0f} molecules/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
