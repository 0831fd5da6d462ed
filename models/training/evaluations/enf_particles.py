"""Particle flows by their likelihood, beside the best possible one, and by their samples and importance weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.ode import Solver
from models.core.random import molecule_seed
from models.enf_particles.model import Drawn, ParticleFlow, effective_share, log_weights
from models.training.data.particle_reference import Reference, reference
from models.training.data.particles import load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, significant

BATCH = 250
Floats = NDArray[np.float64]


def likelihoods(model: ParticleFlow, x: torch.Tensor, watch: Watch) -> tuple[Floats, Floats]:
    """Exact negative log-likelihoods `[m]` of configurations and the errors of their integration, in nats."""
    values, errors = [], []
    for start in range(0, len(x), BATCH):
        value, error = model.log_prob_exact(x[start : start + BATCH])
        values.append(-value.double().cpu())
        errors.append(error.double().cpu())
        watch("scoring", min(start + BATCH, len(x)), len(x))
    return torch.cat(values).numpy(), torch.cat(errors).numpy()


def likelihood_metrics(model: ParticleFlow, x: torch.Tensor, known: Reference, watch: Watch) -> list[Metric]:
    """The mean over `x` `[m, n, d]`, and how far it is from the entropy.

    The distance is the mean of -log p(x) - E(x), minus ln Z: what fluctuates from x to x is in both terms and goes.
    """
    nats, errors = likelihoods(model, x, watch)
    excess = nats - model.system.energy(x.double()).numpy() - known.log_z.value
    half = 1.96 * math.hypot(excess.std(ddof=1) / math.sqrt(len(excess)), known.log_z.error)
    gap = float(excess.mean())
    return [
        mean_metric("negative_log_likelihood", nats, "nats")
        | {"data": significant(known.entropy.value), "largest_integration_error": significant(errors.max())}
        | {"mean_integration_error": significant(errors.mean())},
        {
            "name": "gap_to_entropy", "unit": "nats", "value": significant(gap), "low": significant(gap - half),
            "high": significant(gap + half), "n": len(excess),
        },
        {
            "name": "entropy", "unit": "nats", "value": round(known.entropy.value, 4),
            "low": round(known.entropy.value - 1.96 * known.entropy.error, 4),
            "high": round(known.entropy.value + 1.96 * known.entropy.error, 4),
        },
        *(
            {
                "name": f"log_partition_function_{method}", "unit": "nats", "value": round(one.value, 4),
                "low": round(one.value - 1.96 * one.error, 4), "high": round(one.value + 1.96 * one.error, 4),
            }
            for method, one in known.estimates.items()
        ),
    ]  # fmt: skip


def sample_metrics(
    model: ParticleFlow, options: Options, solver: Solver, known: Reference, watch: Watch
) -> list[Metric]:
    """Energies of samples, the effective share of their weights, and ln Z by the mean weight."""
    parts: list[Drawn] = []
    for start in range(0, options.samples, BATCH):
        rows = range(start, min(start + BATCH, options.samples))
        parts.append(model.sample([molecule_seed(options.seed, k) for k in rows], solver=solver, weigh=True))
        watch("sampling", rows[-1] + 1, options.samples)
    weights = torch.cat([log_weights(model, part) for part in parts])
    energies = torch.cat([model.system.energy(part.x.cpu()) for part in parts]).numpy()
    draws = np.random.default_rng(options.seed)
    again = [weights[torch.from_numpy(draws.integers(len(weights), size=len(weights)))] for _ in range(200)]
    shares = np.array([effective_share(one) for one in again])
    log_z = float(torch.logsumexp(weights, 0)) - math.log(len(weights))
    spread = float(np.std([float(torch.logsumexp(one, 0)) - math.log(len(one)) for one in again], ddof=1))
    low, high = np.quantile(shares, [0.025, 0.975])
    return [
        mean_metric("energy", energies, "") | {"data": significant(known.mean_energy.value)}
        | {"median": significant(float(np.median(energies)))},
        {
            "name": "effective_share", "unit": "share", "value": round(effective_share(weights), 4),
            "low": round(float(low), 4), "high": round(float(high), 4), "n": len(weights),
        },
        {
            "name": "log_partition_function_weights", "unit": "nats", "value": round(log_z, 4),
            "low": round(log_z - 1.96 * spread, 4), "high": round(log_z + 1.96 * spread, 4),
            "n": len(weights), "data": round(known.log_z.value, 4),
        },
    ]  # fmt: skip


def evaluate(model: ParticleFlow, card: Mapping[str, object], options: Options, watch: Watch) -> list[Metric]:  # noqa: ARG001
    """Likelihood of `test_items` test configurations (0: all) and `samples` weighed samples.

    Settings: steps, those of RK4 when sampling. `data` is the entropy beside the likelihood, the chains' mean beside
    the energy, and the independent ln Z beside that of the weights.
    """
    settings = options.only("steps")
    name = str(model.config["system"])
    watch("free energy", 0, 1)
    known = reference(name)
    watch("free energy", 1, 1)
    test = load(name, "test")
    x = test.tensor(options.test_items or len(test))
    solver = Solver("rk4", steps=int(settings.get("steps", 12)), refine=0.05)
    return likelihood_metrics(model, x, known, watch) + sample_metrics(model, options, solver, known, watch)
