"""The two tables of the determinant estimator's first authors, measured again beside what a user would choose.

    python -m benchmarks.vde_tables --out vde.json --plot docs/figures/vde_tables.png

Five random 10x10 Gaussian matrices, and the 16x16 matrix of a 3x3 convolution on a 4x4 image (determinant 7.70525).
Proposals: uniform (plain Monte Carlo), the paper's coupling flow (smaller and trained for fewer steps than theirs,
see FLOWS), and the triangular projective flow. Lanczos works on A^T A. Products with A or A^T are counted.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.core.random import generator
from models.vde.coupling import CouplingFlow
from models.vde.estimators import effective_samples
from models.vde.exact import exact
from models.vde.flows import SphericalFlow
from models.vde.lanczos import lanczos_log_det
from models.vde.operators import FunctionOperator, convolution, dense, to_matrix
from models.vde.projective import TriangularProjection
from models.vde.training import fit
from models.vde.weights import log_weights

KERNEL_SEED = 12
"""The authors' filter: the identity plus half of torch's standard normal numbers from this seed."""
SAMPLES = (100, 1_000, 10_000, 100_000)
FLOWS = {"layers": 4, "bins": 8, "centers": 8, "hidden": 64}
LANCZOS = (10, 30, 100, 300)
"""Probes, each with as many steps as the matrix has rows, so that the quadrature itself is exact."""


@dataclass
class Series:
    """One method on one matrix: estimates of |det A| by samples (for Lanczos: probes), and what they took."""

    determinants: dict[int, float]
    matvecs: dict[int, int]
    effective: dict[int, float] = field(default_factory=dict)
    training_seconds: float = 0.0
    training_matvecs: int = 0


def kernel() -> Tensor:
    """The 3x3 filter of the second table."""
    noise = 0.5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(KERNEL_SEED))
    noise[1, 1] += 1
    return noise.to(torch.float64)


def by_sampling(operator: FunctionOperator, flow: SphericalFlow | None, seed: int) -> Series:
    """Importance-weighted estimates from the first m of one run of samples."""
    weights = log_weights(operator, flow, max(SAMPLES), generator=generator(seed, "samples"))

    def determinant(part: Tensor) -> float:
        return math.exp(math.log(len(part)) - float(part.logsumexp(0)))

    return Series(
        {m: determinant(weights[:m]) for m in SAMPLES},
        {m: m for m in SAMPLES},
        {m: effective_samples(weights[:m]) for m in SAMPLES},
    )


def trained(operator: FunctionOperator, flow: SphericalFlow, seed: int, **options: Any) -> Series:
    """Fit the flow, then sample from it."""
    start = time.process_time()
    record = fit(flow, operator, generator=generator(seed, "training"), **options)
    seconds = time.process_time() - start
    series = by_sampling(operator, flow, seed)
    series.training_seconds, series.training_matvecs = seconds, record.matvecs
    series.matvecs = {m: m + record.matvecs for m in SAMPLES}
    return series


def by_lanczos(operator: FunctionOperator, seed: int) -> Series:
    """Stochastic Lanczos quadrature with more and more probes."""
    found = {
        probes: lanczos_log_det(
            operator, probes=probes, steps=operator.size, generator=generator(seed, f"lanczos {probes}")
        )
        for probes in LANCZOS
    }
    return Series(
        {probes: math.exp(one.value) for probes, one in found.items()},
        {probes: one.matvecs for probes, one in found.items()},
    )


def measure(operator: FunctionOperator, seed: int, steps: int) -> dict[str, Series]:
    """All methods on one matrix."""
    n = operator.size
    coupling = CouplingFlow(n, generator(seed, "weights"), **FLOWS)
    return {
        "plain Monte Carlo": by_sampling(operator, None, seed),
        "VDE, coupling flow": trained(operator, coupling, seed, steps=steps, batch=256, rate=1e-2),
        "VDE, projective flow": trained(operator, TriangularProjection(n), seed, steps=300, batch=256),
        "Lanczos": by_lanczos(operator, seed),
    }


def main(
    matrices: Annotated[int, typer.Option(help="Random Gaussian matrices.")] = 5,
    steps: Annotated[
        int, typer.Option(help="Training steps of the coupling flow on the 10x10 matrices.")
    ] = 1500,
    convolution_steps: Annotated[int, typer.Option(help="The same on the 16x16 matrix.")] = 3000,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them into this PNG.")] = None,
) -> None:
    """Measure, print both tables, and draw them if asked."""
    torch.set_num_threads(1)
    gaussian: list[tuple[float, dict[str, Series]]] = []
    for seed in range(matrices):
        matrix = torch.randn(10, 10, generator=generator(seed, "matrix"), dtype=torch.float64)
        gaussian.append((math.exp(exact(matrix).value), measure(dense(matrix), seed, steps)))
    operator = convolution(kernel(), 4, 4)
    truth = math.exp(exact(to_matrix(operator)).value)
    image = measure(operator, matrices, convolution_steps)

    console = Console(width=140)
    show(console, f"{matrices} random 10x10 Gaussian matrices: relative error of |det A|, mean ± standard deviation",
         gaussian[0][1], lambda name, m: _error(gaussian, name, m))  # fmt: skip
    show(console, f"16x16 matrix of a convolution: |det A|, in truth {truth:.5f}",
         image, lambda name, m: f"{image[name].determinants[m]:.4g}")  # fmt: skip
    report = {
        "samples": SAMPLES, "coupling_flow": FLOWS, "steps": [steps, convolution_steps],
        "gaussian": [{"determinant": t, **{k: vars(s) for k, s in found.items()}} for t, found in gaussian],
        "convolution": {"determinant": truth, **{k: vars(s) for k, s in image.items()}},
    }  # fmt: skip
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if plot is not None:
        draw(gaussian, truth, image, plot)


def errors(gaussian: list[tuple[float, dict[str, Series]]], name: str, m: int) -> list[float]:
    """The relative errors of |det A| over the matrices."""
    return [abs(found[name].determinants[m] / truth - 1) for truth, found in gaussian]


def _error(gaussian: list[tuple[float, dict[str, Series]]], name: str, m: int) -> str:
    found = errors(gaussian, name, m)
    spread = statistics.stdev(found) if len(found) > 1 else math.nan
    return f"{100 * statistics.mean(found):.2g} ± {100 * spread:.2g} %"


def show(console: Console, title: str, example: dict[str, Series], cell: Callable[[str, int], str]) -> None:
    """One table: a line per method, a column per number of samples or probes."""
    table = Table(title=title)
    for name in (
        "method",
        *(f"{m:,} samples" for m in SAMPLES),
        "ESS at most samples",
        "products",
        "training",
    ):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, series in example.items():
        keys = list(series.determinants)
        label = name if name != "Lanczos" else f"Lanczos, {' / '.join(map(str, LANCZOS))} probes"
        share = f"{series.effective[keys[-1]] / keys[-1]:.2g}" if series.effective else ""
        products = f"{series.matvecs[keys[0]]:,} to {series.matvecs[keys[-1]]:,}"
        seconds = f"{series.training_seconds:.1f} s" if series.training_seconds else ""
        table.add_row(label, *(cell(name, m) for m in keys), share, products, seconds)
    console.print(table)


def draw(
    gaussian: list[tuple[float, dict[str, Series]]], truth: float, image: dict[str, Series], path: Path
) -> None:
    """Errors against products with the matrix, training included."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8.5, 3.4))
    for name, series in gaussian[0][1].items():
        keys = list(series.determinants)
        axes[0].plot([series.matvecs[m] for m in keys],
                     [statistics.mean(errors(gaussian, name, m)) for m in keys], "o-", label=name)  # fmt: skip
        axes[1].plot([image[name].matvecs[m] for m in keys], list(image[name].determinants.values()), "o-")
    for axis, size in zip(axes, (10, 16), strict=True):
        axis.axvline(size, color="0.5", ls=":", label=f"exact: {size} products" if size == 10 else None)
        axis.set(xscale="log", yscale="log", xlabel="products with A or its transpose")
        axis.grid(alpha=0.3)
    axes[1].axhline(truth, color="k", lw=0.8, label=f"truth, {truth:.5f}")
    axes[0].set(title="10x10 Gaussian matrices", ylabel="relative error of |det A|")
    axes[1].set(title="convolution, 16x16", ylabel="estimate of |det A|")
    axes[0].legend(frameon=False, fontsize=7)
    axes[1].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
