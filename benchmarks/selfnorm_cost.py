"""What a step costs with learned inverses and with the exact gradient, over the width.

    python -m benchmarks.selfnorm_cost --out selfnorm_cost.json --plot docs/figures/selfnorm_cost.png

One dense layer, forward and backward, rows of 128; seconds of processor time, the fastest of some repeats.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from models.selfnorm.dense import SelfNormLinear

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)


def step(layer: SelfNormLinear, x: torch.Tensor, *, exact: bool) -> Callable[[], None]:
    """One evaluation with its gradient, without the optimizer."""

    def self_normalized() -> None:
        z, log_det, again = layer.learn(x)
        (0.5 * z.square().sum() - log_det.sum() + again.sum()).backward()
        layer.zero_grad()

    def by_lu() -> None:
        z = x @ layer.weight.T + layer.bias
        (0.5 * z.square().sum() - len(x) * torch.linalg.slogdet(layer.weight)[1]).backward()
        layer.zero_grad()

    return by_lu if exact else self_normalized


def fastest(run: Callable[[], None], seconds: float) -> float:
    """Processor seconds of the fastest of at least two runs."""
    best, started, count = float("inf"), time.process_time(), 0
    while count < 2 or time.process_time() - started < seconds:
        begin = time.process_time()
        run()
        best, count = min(best, time.process_time() - begin), count + 1
    return best


def main(
    widest: Annotated[int, typer.Option(help="Leave out wider layers.")] = 4096,
    batch: Annotated[int, typer.Option(help="Rows of a step.")] = 128,
    seconds: Annotated[float, typer.Option(help="Repeat each for so long.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Where to write the figures, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them.")] = None,
) -> None:
    """Measure all widths."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lines: list[dict[str, Any]] = []
    for width in [each for each in WIDTHS if each <= widest]:
        layer, x = SelfNormLinear(width), torch.randn(batch, width)
        line: dict[str, Any] = {"width": width, "batch": batch}
        for name, exact in (("self_normalized", False), ("exact", True)):
            line[name] = round(fastest(step(layer, x, exact=exact), seconds), 5)
        lines.append(line | {"ratio": round(line["exact"] / line["self_normalized"], 2)})
        typer.echo(json.dumps(lines[-1]))
    if out is not None:
        out.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")
    if plot is not None:
        draw(lines, plot)


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Both costs against the width."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.6))
    for name in ("exact", "self_normalized"):
        axes.loglog([line["width"] for line in lines], [line[name] for line in lines], "o-", label=name)
    axes.set(xlabel="width D", ylabel="processor seconds a step")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
