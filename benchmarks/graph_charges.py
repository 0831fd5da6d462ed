"""Partial charges as `convexp-graph` sees them: what exchanging two of them costs, and which atoms stand out then.

python -m benchmarks.graph_charges --plot docs/figures/graph_charges.png
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer

from models.convexp.conditionals import Conditionals, LeaveOneOut
from models.convexp.model import NodeDensity
from models.core.random import generator
from models.training.data.charges import graph_batch, load
from models.training.evaluations.convexp import distinct_pair
from workers.cards import builtin_folder, load_card


def main(
    molecules: Annotated[int, typer.Option(help="Held-out molecules whose charges are exchanged.")] = 300,
    row: Annotated[int, typer.Option(help="The held-out molecule that is shown.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them.")] = None,
) -> None:
    """Exchange two atoms' charges of each molecule, and tell how log p changes, in nats."""
    from models.weights import load_model

    torch.set_num_threads(1)
    card = load_card(builtin_folder() / "convexp-graph.json")
    assert card.weights_path is not None
    model = cast("NodeDensity", load_model(card.model_dump(), card.weights_path)).double()
    test = load(card.training["data"], "test")
    changes: dict[str, list[float]] = {"model": [], "a normal for each element": []}
    shown: tuple[Any, LeaveOneOut, tuple[int, int], list[int]] | None = None
    for number in range(molecules):
        given, bonds, orders, charges = test.molecule(number)
        clean = torch.from_numpy(charges)
        pair = distinct_pair(clean, given[:, 0], generator(number, "swap"), same=False)
        if pair is None:
            continue
        swapped = clean.clone()
        swapped[list(pair)] = clean[list(pair[::-1])]
        exact = Conditionals(model.given(graph_batch([(given, bonds, orders, charges)])))
        before, after = (float(exact.given.log_prob(x)[0]) for x in (clean, swapped))
        changes["model"].append(after - before)
        statistics = np.array([model.config["elements"][str(z)][:2] for z in given[:, 0].tolist()])
        plain = [
            float((-0.5 * ((x.numpy() - statistics[:, 0]) / statistics[:, 1]) ** 2).sum())
            for x in (clean, swapped)
        ]
        changes["a normal for each element"].append(plain[1] - plain[0])
        if number == row:
            shown = swapped.numpy(), exact.leave_one_out(swapped), pair, given[:, 0].tolist()
    for name, values in changes.items():
        share = float(np.mean(np.array(values) < 0))
        half = 1.96 * math.sqrt(share * (1 - share) / len(values))
        typer.echo(f"{name}: {len(values)} swaps, log p falls in {100 * share:.1f} +- {100 * half:.1f} %")
    if plot is not None and shown is not None:
        draw(changes, *shown, plot)


def draw(
    changes: dict[str, list[float]],
    charges: Any,
    alone: LeaveOneOut,
    pair: tuple[int, int],
    numbers: list[int],
    path: Path,
) -> None:
    """How log p changes with a swap; every atom of a molecule with what the others let expect."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.6), width_ratios=[1, 1.4])
    for (name, values), color in zip(changes.items(), ("#2a6f97", "#b0b8c1"), strict=True):
        bent = np.arcsinh(values)
        left.hist(bent, 50, alpha=0.6, color=color, label=name)
    ticks = [-10_000, -1000, -100, -10, 0, 10]
    left.set_xticks(np.arcsinh(ticks), [f"{tick:,}" for tick in ticks], rotation=30)
    left.axvline(0, color="#1b2026", linewidth=0.8)
    left.set(xlabel="change of log p by a swap, nats", ylabel="molecules")
    left.legend()
    symbols = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
    for atom in range(len(charges)):
        right.plot(
            [atom, atom],
            [float(alone.low[atom]), float(alone.high[atom])],
            color="#7f8c99",
            linewidth=5,
            alpha=0.5,
        )
        right.plot(atom, charges[atom], "o", color="#d1495b" if atom in pair else "#1b2026", markersize=5)
    right.set_xticks(range(len(charges)), [f"{symbols[z]}{k}" for k, z in enumerate(numbers)], fontsize=8)
    right.set(title="two charges exchanged (red)", ylabel="charge, e")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
