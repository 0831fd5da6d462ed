"""Bond lengths as `survae-conformers` sees them: drawn beside real ones, and a stretched bond among its neighbors.

python -m benchmarks.bond_lengths --plot docs/figures/bond_lengths.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer

from models.core.random import generator
from models.survae.contract import Noise
from models.survae_conformers.alone import Alone, leave_one_out
from models.survae_conformers.model import BondLengthFlow
from models.training.data.lengths import load
from models.training.evaluations.survae_conformers import STRETCH
from workers.cards import builtin_folder, load_card

KINDS = {"C-C, C=C, C:C, C#C": (6, 6), "C-N, C=N, C:N, C#N": (6, 7), "C-H": (1, 6)}


def main(
    molecules: Annotated[int, typer.Option(help="Held-out molecules to draw sets for.")] = 1000,
    row: Annotated[int, typer.Option(help="The held-out molecule whose bond is stretched.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them.")] = None,
) -> None:
    """Draw one set of lengths for each of some held-out molecules, and stretch a bond of one."""
    from models.weights import load_model

    torch.set_num_threads(1)
    card = load_card(builtin_folder() / "survae-conformers.json")
    assert card.weights_path is not None
    model = cast("BondLengthFlow", load_model(card.model_dump(), card.weights_path)).double()
    test = load(card.training["data"], "test")
    pooled: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in KINDS}
    for number in range(molecules):
        lengths, kinds = test.molecule(number)
        noise = Noise([generator(number, "sample")])
        drawn = model.sample(torch.from_numpy(kinds)[None], noise)[0].numpy()
        for name, elements in KINDS.items():
            chosen = np.array([model.kinds[k].elements == elements for k in kinds.tolist()])
            for values, place in ((lengths, 0), (drawn, 1)):
                pooled[name][place].extend(values[chosen].tolist())
    lengths, kinds = test.molecule(row)
    wrong = lengths.copy()
    odd = int(np.argmax([model.kinds[k].elements != (1, 6) for k in kinds.tolist()]))
    wrong[odd] += STRETCH
    alone = leave_one_out(model, torch.from_numpy(wrong), torch.from_numpy(kinds))
    for place in range(len(wrong)):
        typer.echo(
            f"{name_of(model, int(kinds[place])):12} {wrong[place]:.4f}  expected {alone.expected[place]:.4f} "
            f"({alone.low[place]:.4f} to {alone.high[place]:.4f})  p {alone.p_value[place]:.2g}"
            + ("  <- stretched" if place == odd else "")
        )
    if plot is not None:
        draw(model, pooled, wrong, kinds, alone, odd, plot)


def name_of(model: BondLengthFlow, kind: int) -> str:
    """A kind of bond in words."""
    known = model.kinds[kind]
    names = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
    light, heavy = (names[z] for z in known.elements)
    first, second = (heavy, light) if light == "H" else (light, heavy)
    sign = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}[known.order]
    return f"{first}{sign}{second}{' ring' if known.ring else ''}"


def draw(
    model: BondLengthFlow,
    pooled: dict[str, tuple[list[float], list[float]]],
    lengths: Any,
    kinds: Any,
    alone: Alone,
    odd: int,
    path: Path,
) -> None:
    """Histograms of real and of drawn lengths; every bond of a molecule with what its neighbors let expect."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.6), width_ratios=[1, 1, 1, 1.5])
    for axis, (name, (real, drawn)) in zip(axes, pooled.items(), strict=False):
        low, high = np.quantile(real, [0.001, 0.999]).tolist()
        edges = np.linspace(low, high, 80)
        axis.hist(real, edges, density=True, alpha=0.45, color="#7f8c99", label="real")
        axis.hist(drawn, edges, density=True, histtype="step", color="#d1495b", label="drawn")
        axis.set(title=name, xlabel="Angstrom", yticks=[])
    axes[0].legend()
    last = axes[-1]
    order = np.argsort(kinds, kind="stable")
    for place, bond in enumerate(order.tolist()):
        middle = float(alone.expected[bond])
        ends = [float(alone.low[bond]) - middle, float(alone.high[bond]) - middle]
        last.plot([place, place], ends, color="#7f8c99", linewidth=5, alpha=0.5)
        color = "#d1495b" if bond == odd else "#1b2026"
        last.plot(place, lengths[bond] - middle, "o", color=color, markersize=5)
    names = [name_of(model, int(kinds[bond])) for bond in order.tolist()]
    last.set_xticks(range(len(order)), names, rotation=90, fontsize=7)
    last.set(title="one bond stretched (red)", ylabel="length - expected, Angstrom")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
