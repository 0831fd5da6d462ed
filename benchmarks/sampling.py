"""Molecules per second at 18 atoms: the published network and sampler, the same weights here, the shipped model.

    python -m benchmarks.sampling

(a) the published way: 256 wide, 9 layers, float32, padded to 29 atoms, 1001 network calls a molecule.
(b) the same weights through Equimol: no padding, first layers split, cache-sized calls; same sampler.
(c) the shipped model with its default sampler.

(a) and (b) are extrapolated from a few network calls, (c) is run from end to end. Times are processor time of one
core; a worker process per core multiplies the rates.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.published_network import PlainNetwork
from models.core.precision import fast_cpu_arithmetic
from models.edm.model import EDM
from models.edm.process import polynomial
from models.edm.published import from_published
from models.training.evaluations.edm import card_sampler
from models.weights import load_model

WEIGHTS = Path(__file__).parents[1] / "models" / "weights"
ATOMS, PADDED, PUBLISHED_CALLS = 18, 29, 1001


def best(action: Callable[[], object], repeats: int) -> float:
    """Seconds of one core that the fastest of some runs used: waiting for busy neighbors does not count."""
    durations = []
    for _ in range(repeats + 1):  # the first warms up
        begun = time.process_time()
        action()
        durations.append(time.process_time() - begun)
    return min(durations[1:])


def published_way(plain: PlainNetwork, molecules: int, repeats: int) -> float:
    """Seconds per molecule and network call, padded as the published sampler pads."""
    mask = torch.zeros(molecules, PADDED, 1)
    mask[:, :ATOMS] = 1
    z = torch.randn(molecules, PADDED, 9) * mask
    with torch.inference_mode():
        return best(lambda: plain(z, torch.full((molecules,), 0.5), mask), repeats) / molecules


def our_way(model: EDM, molecules: int, repeats: int) -> float:
    """Seconds per molecule and network call of a run of the ancestral sampler."""
    run = model.sampling([ATOMS] * molecules, range(molecules), sampler="ancestral", steps=1000)
    return best(run.step, repeats) / molecules


def whole_run(model: EDM, molecules: int, **options: Any) -> float:
    """Seconds per molecule from noise to molecule."""
    begun = time.process_time()
    run = model.sampling([ATOMS] * molecules, range(molecules), **options)
    while not run.done:
        run.step()
    run.result()
    return (time.process_time() - begun) / molecules


def agreement(plain: PlainNetwork, model: EDM) -> float:
    """Difference between the two networks' predicted noise on random input, relative to its size."""
    z = torch.randn(2, ATOMS, 9)
    z[..., :3] -= z[..., :3].mean(1, keepdim=True)
    t = torch.full((2,), 0.5)
    with torch.inference_mode():
        ours = torch.cat(model.denoiser.noise(z[..., :3], z[..., 3:], t), -1)  # type: ignore[operator, union-attr]
        theirs = plain(z, t, torch.ones(2, ATOMS, 1))
        return float((ours - theirs).norm() / theirs.norm())


def main(
    model: Annotated[str, typer.Option(help="Name of the shipped model.")] = "edm-qm9",
    molecules: Annotated[int, typer.Option(help="Molecules in a batch.")] = 32,
    repeats: Annotated[int, typer.Option(help="Timed repetitions; the fastest counts.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure the three ways and print a table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fast_cpu_arithmetic()
    card = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
    shipped = load_model(card, WEIGHTS / card["weights"]["file"])
    assert_is_edm(shipped)
    plain = PlainNetwork().eval()
    table = {"gamma.gamma": polynomial().gamma}
    same = from_published({**plain.published_names(), **table}, elements=(1, 6, 7, 8, 9), sizes={ATOMS: 1})
    options = card_sampler(card)
    steps = int(options.pop("steps", 100))

    a = published_way(plain, molecules, repeats)
    b = our_way(same, molecules, repeats)
    c = whole_run(shipped, molecules, steps=steps, **options)
    fifty = whole_run(shipped, molecules, steps=50, **options)
    rows = {
        "(a) published network and sampler": {"calls": PUBLISHED_CALLS, "per_call": a, "whole": a * PUBLISHED_CALLS},
        "(b) same weights, fast path": {"calls": PUBLISHED_CALLS, "per_call": b, "whole": b * PUBLISHED_CALLS},
        f"(c) {model}, {steps} evaluations": {"calls": steps, "per_call": c / steps, "whole": c},
        f"(c) {model}, 50 evaluations": {"calls": 50, "per_call": fifty / 50, "whole": fifty},
    }  # fmt: skip
    report = {
        "atoms": ATOMS, "molecules": molecules, "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(), "agreement_a_b": agreement(plain, same),
        "rows": {name: {**row, "molecules_per_second": 1 / row["whole"], "speedup_per_call": a / row["per_call"],
                        "speedup": a * PUBLISHED_CALLS / row["whole"]} for name, row in rows.items()},
    }  # fmt: skip
    show(report)
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def assert_is_edm(model: torch.nn.Module) -> None:
    """Stop with a message when the card is of another family."""
    if not isinstance(model, EDM):
        raise typer.BadParameter("this benchmark measures EDM models.")


def show(report: dict[str, Any]) -> None:
    """The report as a table."""
    table = Table(title=f"Sampling molecules of {ATOMS} atoms, float32, one core")
    for name in ("", "calls", "ms per molecule and call", "molecules/s", "per call", "end to end"):
        table.add_column(name, justify="left" if not name else "right")
    for name, row in report["rows"].items():
        table.add_row(
            name, str(row["calls"]), f"{1000 * row['per_call']:.2f}", f"{row['molecules_per_second']:.3g}",
            f"{row['speedup_per_call']:.1f} x", f"{row['speedup']:.0f} x",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        "(a) and (b) end to end are extrapolated from single calls. Their networks agree within "
        f"{report['agreement_a_b']:.1e}.",
        style="dim",
    )


if __name__ == "__main__":
    typer.run(main)
