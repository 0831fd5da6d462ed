"""The paper's toy of argmax flows: eight Gaussians on a grid of 91 x 91, against the exact entropy.

    python -m benchmarks.argmax_gaussians --steps 3000

Both coordinates are a string of two tokens out of 91. Nats of fresh samples: the plain bound and the weighted one.
The paper has 6.32 for an argmax flow and 7.0 for a discrete one; below the entropy nothing can be, except by chance.
"""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Annotated

import torch
import typer

from models.argmax_flow.model import ArgmaxFlow
from models.core.random import generator
from models.ddf.gaussians import CLASSES, draw, entropy
from models.survae.contract import Noise
from models.survae.flow import importance_weighted


def main(
    steps: Annotated[int, typer.Option(help="Training steps.")] = 3000,
    batch: Annotated[int, typer.Option(help="Samples a step, fresh ones each time.")] = 256,
    fresh: Annotated[int, typer.Option(help="Samples that the flow is measured on.")] = 20_000,
    draws: Annotated[int, typer.Option(help="Importance samples of the weighted bound.")] = 64,
    base: Annotated[int, typer.Option(help="Base of the digits: 2 is seven signs a coordinate.")] = 2,
    kind: Annotated[str, typer.Option(help="softplus, gumbel or gumbel-threshold.")] = "softplus",
    flow: Annotated[str, typer.Option(help="autoregressive or coupling.")] = "autoregressive",
    seed: Annotated[int, typer.Option(help="Of the weights, the samples and the noise.")] = 0,
) -> None:
    """Train on fresh samples and measure on others."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    own = {"hidden": 128} if flow == "autoregressive" else {"rounds": 2}
    network = {"width": 64, "layers": 1, "heads": 2, "hidden": 128, "neighbors": 1, "counts": False}
    model = ArgmaxFlow(
        {
            "tokens": [f"[{k}]" for k in range(CLASSES)], "longest": 2, "lengths": {"2": 1}, "base": base,
            "posterior": {"kind": kind}, "flow": {"kind": flow, "bins": 8, "network": network, **own},
        }
    )  # fmt: skip
    source = generator(seed, "train")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    started = time.process_time()
    for _ in range(steps):
        pair = SimpleNamespace(tokens=draw(batch, source))
        optimizer.zero_grad()
        model.loss(pair, options={}, generator=source)["loss"].mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
    seconds = time.process_time() - started
    test = draw(fresh, generator(seed, "test"))
    noise = Noise(generator(seed, "bound"))
    with torch.no_grad():
        found = torch.stack([model.once(test, noise).double() for _ in range(draws)])
    weighted = importance_weighted(found)[0]
    print(f"exact entropy                 {entropy():.3f} nats")
    for name, values in (("plain bound", found.mean(0)), (f"weighted bound of {draws}", weighted)):
        half = 1.96 * float(values.std()) / math.sqrt(len(values))
        print(
            f"{name:29} {-float(values.mean()):.3f} nats, 95 % interval +-{half:.3f}, {len(values)} samples"
        )
    print(f"trained for {seconds:.0f} s of processor time, {steps} steps of {batch}")


if __name__ == "__main__":
    typer.run(main)
