"""The toys of the SurVAE paper: a plain flow against one that folds the plane with abs first.

    python -m benchmarks.survae_toys --steps 1000 --out survae_toys.json --plot docs/figures/survae_toys.png

Test negative log-likelihood in nats on fresh points. Both have four affine couplings; the abs flow adds a network for
the signs. On the checkerboard its base is uniform, as in the paper, so only the signs are learned.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from models.survae.bijections import Affine, Permute, Positive, coupling
from models.survae.conditionals import StandardNormal
from models.survae.contract import Layer, Noise
from models.survae.flow import SurVAE
from models.survae.surjections import Abs


def checkerboard(n: int, source: torch.Generator) -> Tensor:
    """Every other square of side 2 in [-4, 4]^2; entropy log 32."""
    x = torch.rand(n, generator=source) * 8 - 4
    y = torch.rand(n, generator=source) * 2
    row = torch.randint(2, (n,), generator=source) * 4 - 4
    return torch.stack([x, y + row + 2 * (torch.floor(x / 2) % 2)], 1)


def corners(n: int, source: torch.Generator) -> Tensor:
    """Four corners of a square, drawn as bent bands."""
    signs = torch.randint(2, (n, 2), generator=source) * 2 - 1
    side = torch.rand(n, generator=source) * 2 + 1
    width = 0.2 * torch.rand(n, generator=source)
    flat = torch.rand(n, generator=source) < 0.5
    a, b = torch.where(flat, side, 1 + width), torch.where(flat, 1 + width, side)
    return signs * torch.stack([a, b], 1)


def circles(n: int, source: torch.Generator) -> Tensor:
    """Four circles around (+-2, +-2)."""
    center = (torch.randint(2, (n, 2), generator=source) * 2 - 1) * 2.0
    angle = 2 * math.pi * torch.rand(n, generator=source)
    radius = 1 + 0.1 * torch.randn(n, generator=source)
    return center + radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def gaussians(n: int, source: torch.Generator) -> Tensor:
    """Eight normals on a circle of radius 3."""
    angle = torch.randint(8, (n,), generator=source) * (math.pi / 4)
    return 3 * torch.stack([angle.cos(), angle.sin()], 1) + 0.3 * torch.randn(n, 2, generator=source)


TOYS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "checkerboard": checkerboard, "corners": corners, "four circles": circles, "8 Gaussians": gaussians
}  # fmt: skip


class Box(nn.Module):
    """Uniform in (0, 4)^2: the base of the folded checkerboard."""

    def log_prob(self, z: Tensor) -> Tensor:
        """-log 16 inside."""
        inside = ((z >= 0) & (z <= 4)).all(1)
        return torch.where(inside, -math.log(16.0), -math.inf)

    def sample(self, like: Tensor, shape: tuple[int, ...], noise: Noise) -> Tensor:
        """Uniform points."""
        return 4 * noise.uniform(like, shape)


def couplings() -> list[Layer]:
    """Four affine couplings with the columns changing places."""
    layers: list[Layer] = []
    for _ in range(4):
        layers += [coupling(2, 0, (100, 50)), Permute([1, 0])]
    return layers


def build(name: str, folded: bool) -> SurVAE:
    """One of the two flows."""
    if not folded:
        return SurVAE([Affine([0.0, 0.0], [2.0, 2.0]), *couplings()], StandardNormal(), (2,))
    if name == "checkerboard":
        return SurVAE([Abs(2, hidden=64)], Box(), (2,), base_fills="positive")
    return SurVAE([Abs(2, hidden=64), Positive(), *couplings()], StandardNormal(), (2,))


def fit(name: str, folded: bool, steps: int, seed: int = 0) -> dict[str, Any]:
    """Train on fresh points; the figures, and samples to draw."""
    torch.manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    flow, started = build(name, folded), time.process_time()
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        optimizer.zero_grad()
        loss = -flow.log_prob(TOYS[name](256, source)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        found = -flow.log_prob(TOYS[name](20_000, source)).double()
        samples = flow.sample(torch.zeros(2_000), Noise(source))
    return {
        "toy": name, "flow": "abs" if folded else "plain", "nats": round(float(found.mean()), 4),
        "standard_error": round(float(found.std() / math.sqrt(len(found))), 4), "steps": steps,
        "cpu_seconds": round(time.process_time() - started, 1), "samples": samples,
    }  # fmt: skip


def main(
    steps: Annotated[int, typer.Option(help="Steps of 256 points.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Where to write the figures, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw samples.")] = None,
) -> None:
    """Fit all toys with both flows."""
    torch.set_num_threads(1)
    results = []
    for name in TOYS:
        for folded in (False, True):
            results.append(fit(name, folded, steps))
            shown = {k: v for k, v in results[-1].items() if k != "samples"}
            typer.echo(json.dumps(shown))
    if plot is not None:
        draw(results, plot)
    if out is not None:
        lines = [{k: v for k, v in each.items() if k != "samples"} for each in results]
        out.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Data, plain flow and abs flow side by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, len(TOYS), figsize=(9, 7), sharex=True, sharey=True)
    for k, name in enumerate(TOYS):
        points = TOYS[name](2_000, torch.Generator().manual_seed(9))
        axes[0, k].set_title(name)
        for row, cloud in enumerate([points, *[each["samples"] for each in results if each["toy"] == name]]):
            axes[row, k].scatter(cloud[:, 0], cloud[:, 1], s=1, color="#2f6f9f")
            axes[row, k].set(xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), aspect="equal")
        for row in (1, 2):
            nats = [each["nats"] for each in results if each["toy"] == name][row - 1]
            axes[row, k].set_xlabel(f"{nats:.3f} nats")
    for row, label in enumerate(("data", "plain flow", "abs flow")):
        axes[row, 0].set_ylabel(label)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
