"""Negative log-likelihood of particle flows against the size of the training set, beside the entropy.

`python -m benchmarks.particle_table dw4 --configurations 60000 --out table.json`. Every flow sees the same number of
configurations, drawn again and again from a small set; of six equally spaced moments the one with the least
flow-matching loss on validation configurations is kept, as early stopping does.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.core.precision import fast_cpu_arithmetic
from models.core.random import generator
from models.enf_particles.loss import LossOptions, matching_loss
from models.enf_particles.model import ParticleFlow
from models.training.data.particle_reference import reference
from models.training.data.particles import ParticleData, load
from models.training.loop import Run, train
from models.training.recipe import load_recipe

SIZES = (100, 1_000, 10_000)
MOMENTS = 6


@torch.no_grad()
def validation_loss(model: ParticleFlow, x: torch.Tensor, options: LossOptions) -> float:
    """The flow-matching loss with the same noise and times at every call."""
    return float(matching_loss(model.field, model.checked(x), options, generator(0, "validation")).mean())


def trained(name: str, size: int, configurations: int, seed: int) -> tuple[ParticleFlow, dict[str, Any]]:
    """A flow trained on the first `size` configurations, at its best moment by validation."""
    recipe = replace(load_recipe(f"enf-{name}"), seed=seed)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, cooldown=0))
    data, valid = load(name, "train").subset(size), load(name, "valid").tensor(2000)
    options = LossOptions.from_dict(recipe.loss)
    torch.manual_seed(seed)
    config = ParticleFlow.config_for(recipe.model, data)
    best: tuple[float, int, dict[str, torch.Tensor]] | None = None
    with tempfile.TemporaryDirectory() as folder:
        # A small set is repeated, so that every step sees a full batch.
        times = max(1, math.ceil(4 * recipe.bucket / size))
        shown = ParticleData(name, data.positions.repeat(times, axis=0))
        for moment in range(1, MOMENTS + 1):
            torch.manual_seed(seed)
            model = ParticleFlow(config)
            part = replace(recipe, molecules=configurations * moment // MOMENTS)
            train(part, model, shown, Run(Path(folder), resume=True))
            loss = validation_loss(model, valid, options)
            if best is None or loss < best[0]:
                best = (loss, part.molecules, {k: v.clone() for k, v in model.state_dict().items()})
    assert best is not None
    model.load_state_dict(best[2])
    return model.eval(), {"validation_loss": best[0], "best_after": best[1]}


def measured(model: ParticleFlow, name: str, count: int) -> dict[str, float]:
    """Test negative log-likelihood by the exact trace, with standard error, and its distance to the entropy."""
    known, x = reference(name), load(name, "test").tensor(count)
    nats = torch.cat([-model.log_prob_exact(part)[0].double() for part in torch.split(x, 100)])
    excess = nats - model.system.energy(x.double()) - known.log_z.value
    scale = math.sqrt(count)
    return {
        "negative_log_likelihood": float(nats.mean()), "standard_error": float(nats.std()) / scale,
        "gap": float(excess.mean()), "gap_error": math.hypot(float(excess.std()) / scale, known.log_z.error),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=["dw4", "lj13"])
    parser.add_argument("--configurations", type=int, default=60_000, help="seen in training by each flow")
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    fast_cpu_arithmetic()
    known, rows = reference(given.system), []
    print(f"entropy {known.entropy.value:.3f} +- {known.entropy.error:.3f} nats", flush=True)
    for size in SIZES:
        model, said = trained(given.system, size, given.configurations, given.seed)
        rows.append({"training_set": size, **measured(model, given.system, given.test), **said})
        print(json.dumps(rows[-1]), flush=True)
        if given.out is not None:
            content = {"system": given.system, "configurations": given.configurations, "test": given.test}
            given.out.write_text(json.dumps({**content, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
