"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.core.errors import DivergedError
from models.core.precision import fast_cpu_arithmetic, network_autocast
from models.core.random import purpose_seed
from models.egnn.layers import Block
from models.training.data import TrainingData
from models.training.log import TrainingLog
from models.training.optimizer import make_optimizers, set_rate
from models.training.recipe import Optimizer, Recipe
from models.training.replay import Replay
from models.training.state import Average, Progress, load_state, save_state


class Trainable(Protocol):
    """What the loop needs of a model."""

    def loss(self, batch: Any, *, options: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a batch, each `[b]`: `loss` is minimized, the others are for the log."""


@dataclass
class Run:
    """Where a run lives and how long this piece of it may take."""

    folder: Path
    time_limit: float = math.inf
    checkpoint_every: float = 180.0
    resume: bool = False


def learning_rate(options: Optimizer, molecules: int, total: int) -> float:
    """Warm-up, constant, linear cool-down, as a function of molecules seen."""
    warm = min(1.0, (molecules + 1) / max(options.warmup, 1))
    cool = min(1.0, (total - molecules) / options.cooldown) if options.cooldown else 1.0
    return options.learning_rate * warm * max(cool, 0.0)


def world() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) outside torchrun."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


PATIENCE = {"cpu": 1, "cuda": 50}
"""How many steps pass before the gradient's norm is looked at: looking makes the processor wait for a GPU."""


def compile_blocks(model: nn.Module) -> None:
    """Compile the EGNN's blocks, which share one compiled graph for all sizes; a third faster on a CPU."""
    for module in model.modules():
        if isinstance(module, Block):
            module.compile(dynamic=True)


def average_gradients(parameters: list[nn.Parameter], processes: int) -> None:
    """Sum the gradients over all processes in one message; the loss is already divided by the whole batch."""
    if processes == 1:
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def require_finite(norm: Tensor, step: int, checkpoint: Path) -> None:
    """Raises DivergedError when the gradient's norm is no number."""
    if not math.isfinite(norm):
        raise DivergedError(
            f"the gradient is not finite at step {step}; the last good state is {checkpoint}. "
            "Resume with a lower learning rate."
        )


class Stop:
    """SIGTERM and SIGINT ask the loop to save and leave; a second signal kills as usual."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        self.before = {s: signal.signal(s, self.ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.asked = True
        signal.signal(number, self.before[signal.Signals(number)])

    def __exit__(self, *_: object) -> None:
        for s, handler in self.before.items():
            signal.signal(s, handler)


def train(
    recipe: Recipe,
    model: nn.Module,
    data: TrainingData,
    run: Run,
    *,
    after_checkpoint: Callable[[Progress, dict[str, Tensor]], None] | None = None,
) -> Progress:
    """Train `model` in place until the recipe's length, the time limit or a signal; leaves its averaged weights
    and a checkpoint in `run.folder`. Raises DivergedError when the loss is not finite, naming the step.
    """
    rank, processes = world()
    fast_cpu_arithmetic()
    parameters = list(model.parameters())
    optimizers = make_optimizers(recipe.optimizer, model)
    average = Average(model, recipe.ema)
    checkpoint = run.folder / "checkpoint.safetensors"
    progress = Progress()
    if run.resume and checkpoint.exists():
        progress = load_state(checkpoint, model, average, optimizers)
    device = next(model.parameters()).device
    if progress.molecules < recipe.molecules:
        progress.device = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if recipe.compile and device.type == "cpu":
        compile_blocks(model)
    source = torch.Generator(device)

    def accumulate(batch: Any) -> dict[str, Tensor]:
        """Add the gradient of a bucket; its losses `[b]`."""
        with network_autocast(device):
            losses = model.loss(batch.to(device), options=recipe.loss, generator=source)  # type: ignore[operator]
        (losses["loss"].sum() / recipe.batch).backward()
        return {name: value.detach() for name, value in losses.items()}

    learn = Replay(accumulate, source) if device.type == "cuda" and recipe.replay else accumulate
    per_step = recipe.batch // recipe.bucket
    per_process = per_step // processes
    if per_process * processes != per_step:
        raise ValueError(f"{per_step} buckets a step cannot be shared by {processes} processes.")
    batches = data.batches(
        recipe.bucket, recipe.seed, start=progress.buckets, process=rank, processes=processes
    )
    log = TrainingLog(run.folder, total=recipe.molecules) if rank == 0 else None
    started = saved = time.monotonic()
    before = progress.seconds
    with Stop() as stop, log or nullcontext():
        while progress.molecules < recipe.molecules:
            sums: dict[str, Tensor] = {}
            seen = 0
            for k in range(per_process):
                batch = next(batches)
                part = f"step {progress.step} part {rank * per_process + k}"
                source.manual_seed(purpose_seed(recipe.seed, part))
                seen += batch.num_graphs
                for name, value in learn(batch).items():
                    sums[name] = sums[name] + value.sum() if name in sums else value.sum()
            average_gradients(parameters, processes)
            norm = nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip)
            patience = PATIENCE.get(device.type, 1)
            if progress.step % patience == 0:
                require_finite(norm, progress.step, checkpoint)
            rate = learning_rate(recipe.optimizer, progress.molecules, recipe.molecules)
            set_rate(optimizers, rate)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=device.type == "cpu")  # a recording adds to the same tensors
            progress.step += 1
            progress.buckets += per_step
            progress.molecules += recipe.batch
            progress.seconds = before + time.monotonic() - started
            average.update(model, progress.step)
            if log is not None:
                log.step(progress, {k: v / seen for k, v in sums.items()}, norm, rate)
            finished = time.monotonic() - started > run.time_limit or stop.asked
            if processes > 1:
                flag = torch.tensor(float(finished))
                dist.all_reduce(flag)
                finished = bool(flag > 0)
            due = finished or time.monotonic() - saved > run.checkpoint_every
            if due or progress.molecules >= recipe.molecules:
                require_finite(norm, progress.step, checkpoint)  # what is no number is never saved
            if rank == 0 and due:
                save_state(checkpoint, model, average, optimizers, progress)
                saved = time.monotonic()
                if after_checkpoint is not None:
                    after_checkpoint(progress, average.weights(model))
            if finished:
                break
        if rank == 0:
            save_state(checkpoint, model, average, optimizers, progress)
    model.load_state_dict(average.weights(model))
    return progress


def run_summary(recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """What the card says about the training."""
    return {"recipe": recipe.name, "data": recipe.data, **asdict(progress)}
