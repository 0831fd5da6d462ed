"""`equimol train`: run or resume a recipe."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import typer

from models.core.errors import ConfigError
from models.training import greedy
from models.training.card import new_card
from models.training.data import training_data
from models.training.evaluations import finished
from models.training.loop import Run
from models.training.loop import train as run_training
from models.training.recipe import Recipe, load_recipe
from models.training.start import begin_from
from models.training.watch import SampleWatch
from models.weights.files import family_class, save_model


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (edm-qm9) or a .toml file.")],
    data: Annotated[
        str | None, typer.Option(help="Train on this imported data set instead of the recipe's data.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Id of the new model [default: the recipe's name].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run [default: runs/RECIPE].")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in the folder.")] = False,
    time_limit: Annotated[float | None, typer.Option(help="Stop and save after so many minutes.")] = None,
    molecules: Annotated[
        int | None, typer.Option(help="Train on so many molecules in all, instead of the recipe's.")
    ] = None,
    cooldown: Annotated[
        int | None, typer.Option(help="Let the learning rate fall to zero over the last so many molecules.")
    ] = None,
    sample_every: Annotated[
        float, typer.Option(help="Draw samples every so many minutes and log their quality; 0 for never.")
    ] = 15.0,
    threads: Annotated[int, typer.Option(help="Threads of each process.")] = 1,
    device: Annotated[str, typer.Option(help="Where to train: cpu, or cuda.")] = "cpu",
    batch: Annotated[
        int | None, typer.Option(help="Molecules an optimizer step, instead of the recipe's.")
    ] = None,
    bucket: Annotated[
        int | None,
        typer.Option(help="Molecules a network call, instead of the recipe's; a GPU wants hundreds."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Begin from the weights of this model (its id, or its card) instead of random ones."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Order of data and noise, instead of the recipe's.")
    ] = None,
) -> None:
    """Train a model; `torchrun --nproc-per-node 2 -m models.training.command RECIPE` uses two processes."""
    torch.set_num_threads(threads)
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")
    chosen: Recipe = load_recipe(recipe)
    chosen = replace(chosen, data=data or chosen.data, name=name or chosen.name)
    if molecules is not None:
        chosen = replace(chosen, molecules=molecules)
    if cooldown is not None:
        chosen = replace(chosen, optimizer=replace(chosen.optimizer, cooldown=cooldown))
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if batch is not None or bucket is not None:
        chosen = replace(chosen, batch=batch or chosen.batch, bucket=bucket or chosen.bucket)
    place = training_device(device)
    folder = out or Path("runs") / chosen.name
    molecules_to_learn = training_data(chosen.data, "train")
    torch.manual_seed(chosen.seed)  # initial weights only; all other randomness has generators of its own
    build: Any = family_class(chosen.family)
    model = build(build.config_for(chosen.model, molecules_to_learn))
    started = begin_from(model, start) if start else None
    model.to(place)
    run = Run(folder, (time_limit or float("inf")) * 60, resume=resume)
    if isinstance(model, greedy.Greedy):
        progress = greedy.train(chosen, model, molecules_to_learn, training_data(chosen.data, "valid"), run)
    else:
        watch = (
            SampleWatch(chosen.family, model.config, folder, minutes=sample_every) if sample_every else None
        )
        progress = run_training(chosen, model, molecules_to_learn, run, after_checkpoint=watch)
    if not dist.is_initialized() or dist.get_rank() == 0:
        model.to("cpu")
        card = new_card(chosen, model, molecules_to_learn, progress)
        if started:
            card["training"]["start"] = started
        save_model(model, card | finished(chosen.family, model, chosen.data), folder)
        typer.echo(
            f"{progress.molecules} molecules in {progress.seconds:.0f} s; weights and card are in {folder}"
        )
    if dist.is_initialized():
        dist.destroy_process_group()


def training_device(name: str) -> torch.device:
    """The device of that name. Raises ConfigError when there is none, or several processes would share a GPU."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}; choose cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device is {name!r}, but torch finds no GPU here; leave it out to train on the CPU."
        )
    if device.type == "cuda" and dist.is_initialized():
        raise ConfigError("several processes train on CPUs only; start one process to use the GPU.")
    return device


def main() -> None:
    """Entry point for torchrun."""
    typer.run(train)


if __name__ == "__main__":
    main()
