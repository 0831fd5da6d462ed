"""Densities of bond lengths: held-out likelihood, the stretched bond, a missing length, drawn sets; the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from models.core.random import generator, molecule_seed
from models.survae.contract import Noise
from models.survae_conformers.alone import leave_one_out
from models.survae_conformers.model import BondLengthFlow
from models.training.data.lengths import LengthData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant
from models.training.evaluations.survae_descriptors import kolmogorov

STRETCH = 0.04
"""Angstrom that one bond is lengthened by; three times the spread of sound bonds of a kind, about."""

COMPONENTS, ROUNDS = 5, 100
Floats = NDArray[np.float64]


def evaluate(model: BondLengthFlow, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """`test_items` held-out molecules (0: all), and a set drawn for each of `samples` of them.

    The baseline draws every bond from a Gaussian mixture of its kind's lengths, whatever the other bonds are.
    """
    options.only()
    model = model.double()
    name = card["training"]["data"]
    train, test = load(name, "train"), load(name, "test")
    shuffled = np.random.default_rng(options.seed).permutation(len(test))
    rows = shuffled[: options.test_items or len(test)]
    cheap = Baseline.fitted(train, model, options.seed)
    nats, plain, errors, guesses, found, blind, chance = [], [], [], [], [], [], []
    for done, row in enumerate(rows, 1):
        lengths, kinds = test.molecule(int(row))
        source = np.random.default_rng([options.seed, int(row)])
        blurred = np.abs(lengths + model.noise * source.normal(size=len(lengths)))
        nats.append(model.score(blurred.tolist(), kinds.tolist()).value / len(lengths))
        plain.append(cheap.log_density(blurred, kinds).mean())
        one = int(source.integers(len(lengths)))
        stretched = lengths.copy()
        stretched[one] += STRETCH
        alone = leave_one_out(model, torch.from_numpy(stretched), torch.from_numpy(kinds))
        errors.append(abs(float(alone.expected[one]) - lengths[one]))
        guesses.append(abs(cheap.median[kinds[one]] - lengths[one]))
        found.append(one == int(np.lexsort((alone.log_density.numpy(), alone.p_value.numpy()))[0]))
        blind.append(
            one == int(np.lexsort((cheap.log_density(stretched, kinds), cheap.p_value(stretched, kinds)))[0])
        )
        chance.append(1 / len(lengths))
        watch("molecules", done, len(rows))
    return [
        mean_metric("nats_per_bond", -np.array(nats), "nats")
        | {"baseline": significant(-np.mean(plain)), "baseline_is": "a Gaussian mixture of each kind's lengths"},
        share("stretched_bond_found", np.array(found))
        | {
            "baseline": significant(np.mean(blind)), "chance": significant(np.mean(chance)),
            "stretch_angstrom": STRETCH,
        },
        mean_metric("length_error_angstrom", np.array(errors), "Angstrom")
        | {"baseline": significant(np.mean(guesses)), "baseline_is": "the median of the kind"},
        *drawn_sets(model, test, cheap, shuffled[: options.samples], options.seed),
    ]  # fmt: skip


def drawn_sets(
    model: BondLengthFlow, test: LengthData, cheap: Baseline, rows: NDArray[np.int64], seed: int
) -> list[Metric]:
    """Kolmogorov's distance of drawn from real sets: of all lengths, standardized, and of the range within a kind.
    Real lengths are blurred as those of the training were.

    The range between the shortest and the longest C-H bond of a molecule shows whether bonds are drawn together.
    """
    real, drawn, independent = (Pooled([], []) for _ in range(3))
    hydrogen = {number for number, kind in enumerate(model.kinds) if kind.elements == (1, 6)}
    means, scales = (np.array([getattr(kind, name) for kind in model.kinds]) for name in ("mean", "scale"))
    for row in rows:
        lengths, kinds = test.molecule(int(row))
        noise = Noise([generator(molecule_seed(seed, int(row)), "sample")])
        made = model.sample(torch.from_numpy(kinds)[None], noise)[0].numpy()
        source = np.random.default_rng([seed, int(row), 1])
        marked = np.array([k in hydrogen for k in kinds.tolist()])
        blurred = lengths + model.noise * source.normal(size=len(lengths))
        for pool, values in ((real, blurred), (drawn, made), (independent, cheap.draw(kinds, source))):
            pool.lengths.extend(((values - means[kinds]) / scales[kinds]).tolist())
            if marked.sum() > 1:
                pool.ranges.append(float(np.ptp(values[marked])))
    return [
        {
            "name": name, "value": significant(kolmogorov(*(np.array(getattr(p, what)) for p in (drawn, real)))),
            "baseline": significant(kolmogorov(*(np.array(getattr(p, what)) for p in (independent, real)))),
            "n": len(getattr(real, what)),
        }
        for name, what in (
            ("kolmogorov_distance_of_lengths", "lengths"), ("kolmogorov_distance_of_ch_ranges", "ranges"),
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Pooled:
    """Values of all molecules together."""

    lengths: list[float]
    ranges: list[float]


@dataclass(frozen=True)
class Baseline:
    """Gaussian mixtures `[kinds, components]` and the median of every kind."""

    weight: Floats
    center: Floats
    scale: Floats
    median: Floats

    @classmethod
    def fitted(cls, train: LengthData, model: BondLengthFlow, seed: int) -> Baseline:
        """By expectation and maximization, on lengths blurred as the model's are, at most 20,000 of a kind."""
        source = np.random.default_rng(seed)
        parts = []
        for kind in range(len(model.kinds)):
            known = train.lengths[train.numbers == kind]
            x = source.permutation(known)[:20_000]
            x = x + model.noise * source.normal(size=len(x))
            parts.append((*gaussian_mixture(x, model.noise), np.median(known)))
        weight, center, scale, median = (np.array(column) for column in zip(*parts, strict=True))
        return cls(weight, center, scale, median)

    def log_density(self, lengths: Floats, kinds: NDArray[np.int64]) -> Floats:
        """Of every bond by itself."""
        t = (lengths[:, None] - self.center[kinds]) / self.scale[kinds]
        each = -0.5 * t**2 - np.log(self.scale[kinds]) - 0.5 * math.log(2 * math.pi)
        out: Floats = logsumexp(each + np.log(self.weight[kinds]), axis=1)
        return out

    def p_value(self, lengths: Floats, kinds: NDArray[np.int64]) -> Floats:
        """Two-sided, of every bond by itself."""
        t = (lengths[:, None] - self.center[kinds]) / self.scale[kinds]
        sides = [(self.weight[kinds] * ndtr(sign * t)).sum(1) for sign in (1, -1)]
        out: Floats = 2 * np.minimum(*sides)
        return out

    def draw(self, kinds: NDArray[np.int64], source: np.random.Generator) -> Floats:
        """One set."""
        chosen = (source.random((len(kinds), 1)) > self.weight[kinds].cumsum(1)[:, :-1]).sum(1)
        out: Floats = self.center[kinds, chosen] + self.scale[kinds, chosen] * source.normal(size=len(kinds))
        return out


def gaussian_mixture(x: Floats, smallest: float) -> tuple[Floats, Floats, Floats]:
    """Weights, centers and scales of COMPONENTS normals, started at evenly spaced quantiles."""
    center = np.quantile(x, (np.arange(COMPONENTS) + 0.5) / COMPONENTS)
    scale = np.full(COMPONENTS, max(x.std() / 2, smallest))
    weight = np.full(COMPONENTS, 1 / COMPONENTS)
    for _ in range(ROUNDS):
        each = np.log(weight) - 0.5 * ((x[:, None] - center) / scale) ** 2 - np.log(scale)
        part = np.exp(each - logsumexp(each, axis=1, keepdims=True))
        total = part.sum(0) + 1e-9
        weight = total / total.sum()
        center = part.T @ x / total
        scale = np.maximum(np.sqrt((part * (x[:, None] - center) ** 2).sum(0) / total), smallest)
    return weight, center, scale
