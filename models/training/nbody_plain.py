"""The plain network of charged particles trained as published, at its best moment by validation:
`python -m models.training.nbody_plain egnn-nbody --out models/weights`.

The published run (arXiv 2102.09844, section 5.1, and its code): Adam with learning rate 5e-4 and weight decay 1e-12,
batches of 100, every fifth epoch judged on the validation split and the best one kept, 10,000 epochs in all. Without
that choice the network learns the 3,000 training trajectories by heart. A run that was ended goes on from its last
state when it is started again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from models.core.errors import ConfigError
from models.core.precision import fast_cpu_arithmetic
from models.core.random import generator
from models.egnn.pairs import DensePairs
from models.egnn_nbody.model import ParticleEGNN, PlainGNN
from models.training.data.nbody import ParticleData, load
from models.training.evaluations import finished
from models.training.state import Average, Progress, load_state, save_state
from models.weights.files import find_card, load_model, save_model

BATCH, RATE, DECAY, EVERY = 100, 5e-4, 1e-12, 5
SAVED, SAID = 100, 500
"""Epochs between saved states, and between the validation errors that the card holds."""


@dataclass
class Run(Progress):
    """Where a run stands (a step is an epoch), its best moment by validation, and the errors on the way."""

    best_error: float = float("inf")
    best_epoch: int = 0
    errors: dict[str, float] = field(default_factory=dict)


def tensors(data: ParticleData) -> list[Tensor]:
    """Positions, velocities, charges and later positions, each `[systems, particles, ...]`."""
    return list(torch.split(torch.from_numpy(data.values).float(), [3, 3, 1, 3], -1))


@torch.no_grad()
def error(plain: PlainGNN, data: list[Tensor], pairs: DensePairs) -> float:
    """Mean squared error of a coordinate."""
    total = 0.0
    for x, v, q, target in zip(*(torch.split(part, BATCH) for part in data), strict=True):
        total += float((plain(x, v, q, pairs) - target).square().sum())
    return total / data[3].numel()


def train(
    plain: PlainGNN, data: ParticleData, valid: ParticleData, *, epochs: int, time_limit: float = float("inf"),
    compiled: bool = False, state: Path | None = None,
) -> Run:  # fmt: skip
    """Train in place for `epochs` or `time_limit` seconds of processor time, and end with the best weights.

    With `state` the run is saved there now and then, and goes on from there if the file exists.
    """
    known, held_out = tensors(data), tensors(valid)
    pairs = DensePairs(known[0].shape[1])
    call = torch.compile(plain) if compiled else plain
    optimizer = torch.optim.Adam(plain.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    run, best = Run(), Average(plain, 0.0)
    if state is not None and state.exists():
        run = load_state(state, plain, best, [optimizer], Run)
    begun = time.process_time() - run.seconds
    while run.step < epochs and (run.step == 0 or run.seconds < time_limit):
        order = torch.randperm(len(data), generator=generator(0, f"epoch {run.step}"))
        for rows in torch.split(order, BATCH):
            if len(rows) < BATCH:
                break  # as published
            x, v, q, target = (part[rows] for part in known)
            optimizer.zero_grad()
            (call(x, v, q, pairs) - target).square().mean().backward()
            optimizer.step()
        if run.step % EVERY == 0:
            judge(run, plain, error(plain, held_out, pairs), best)
        run.step += 1
        run.seconds = time.process_time() - begun
        if state is not None and (run.step % SAVED == 0 or run.step == epochs or run.seconds >= time_limit):
            save_state(state, plain, best, [optimizer], run)
    plain.load_state_dict(best.weights(plain))
    return run


def judge(run: Run, plain: PlainGNN, found: float, best: Average) -> None:
    """Note the validation error of this epoch, and keep the weights in `best` if it is the least."""
    if run.step % SAID == 0:
        run.errors[str(run.step)] = round(found, 6)
        typer.echo(f"epoch {run.step}: {found:.5f} on the validation split")
    if found < run.best_error:
        run.best_error, run.best_epoch = found, run.step
        best.update(plain, 0)  # without memory: a copy
        typer.echo(f"epoch {run.step}: {found:.5f} on the validation split, the best so far")


def main(
    model: Annotated[str, typer.Argument(help="A shipped egnn-nbody, or the path of a card.")] = "egnn-nbody",
    out: Annotated[Path, typer.Option(help="Folder for the model with its new plain network.")] = Path(
        "runs"
    ),
    epochs: Annotated[int, typer.Option(help="Passes over the training split.", min=1)] = 10_000,
    time_limit: Annotated[float, typer.Option(help="Minutes of processor time in all.")] = 150.0,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights.")] = 0,
) -> None:
    """Train the plain network anew beside the EGNN, which is left as it is, and write both with a card.

    Metrics are left out, for they must be measured anew.
    """
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    path = find_card(model)
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    both = load_model(card, path.parent / card["weights"]["file"])
    if not isinstance(both, ParticleEGNN):
        raise ConfigError(f"{card['id']} is of the family {card['family']}, but egnn_nbody is needed.")
    data = card["training"]["data"]
    torch.manual_seed(seed)
    plain = PlainGNN(both.plain.config)
    out.mkdir(parents=True, exist_ok=True)
    run = train(
        plain,
        load(data, "train"),
        load(data, "valid"),
        epochs=epochs,
        time_limit=60 * time_limit,
        compiled=True,
        state=out / "plain.safetensors",
    )
    both.plain.load_state_dict(plain.state_dict())
    said = {
        "optimizer": {"kind": "adam", "learning_rate": RATE, "weight_decay": DECAY}, "batch": BATCH, "seed": seed,
        "epochs": run.step, "best_epoch": run.best_epoch, "validation_error": round(run.best_error, 6),
        "validation_errors": run.errors,
        "seconds": round(run.seconds),
    }  # fmt: skip
    complete = {**card, "training": {**card["training"], "plain": said}, "metrics": []}
    written = save_model(both, complete | finished(card["family"], both, data), out)
    typer.echo(
        f"{run.step} epochs, the best is {run.best_epoch}: {run.best_error:.5f}; "
        f"weights and card are in {written.parent}"
    )


if __name__ == "__main__":
    typer.run(main)
