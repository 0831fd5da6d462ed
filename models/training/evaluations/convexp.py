"""Densities of charges on molecular graphs: held-out likelihood, swapped charges, completion, and the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from models.convexp.conditionals import Conditionals
from models.convexp.model import NodeDensity
from models.core.random import generator
from models.training.data.charges import graph_batch, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant

DISTINCT = 0.02
"""Pairs whose charges differ by less (four widths of the model's blur) are left out: nobody tells them apart."""


def evaluate(model: NodeDensity, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """`test_items` held-out molecules (0: all); the baseline is a normal distribution for every element.

    Two atoms' charges are exchanged: any two atoms, and two of the same element, where the baseline is blind. A
    missing charge is completed by the median of its conditional; the baseline says the element's mean.
    """
    options.only()
    model = model.double()
    data = load(card["training"]["data"], "test")
    rows = np.random.default_rng(options.seed).permutation(len(data))[: options.test_items or len(data)]
    elements = model.config["elements"]
    nats, plain, atoms, errors, cheap = [], [], [], [], []
    lower: dict[str, list[bool]] = {"any": [], "same": [], "found": []}
    blind: dict[str, list[bool]] = {"any": [], "same": []}
    for done, row in enumerate(rows, 1):
        given, bonds, orders, charges = data.molecule(int(row))
        source = generator(options.seed, f"molecule {row}")
        batch = graph_batch([(given, bonds, orders, charges)])
        numbers = given[:, 0]
        mean = torch.tensor([elements[str(z)][0] for z in numbers.tolist()], dtype=torch.float64)
        spread = torch.tensor([elements[str(z)][1] for z in numbers.tolist()], dtype=torch.float64)
        clean = torch.from_numpy(charges)
        x = clean + model.noise * torch.randn(len(clean), generator=source, dtype=torch.float64)
        with torch.no_grad():
            exact = Conditionals(model.given(batch))

            def baseline(v: torch.Tensor, m: torch.Tensor = mean, s: torch.Tensor = spread) -> float:
                return float((-0.5 * ((v - m) / s).square() - s.log() - 0.5 * math.log(2 * math.pi)).sum())

            log_p = float(exact.given.log_prob(x)[0])
            nats.append(log_p / len(x))
            plain.append(baseline(x) / len(x))
            atoms.append(len(x))
            one = int(torch.randint(len(x), (1,), generator=source))
            errors.append(abs(float(exact.leave_one_out(clean).expected[one] - clean[one])))
            cheap.append(abs(float(mean[one] - clean[one])))
            for kind in ("any", "same"):
                pair = distinct_pair(clean, numbers, source, same=kind == "same")
                if pair is None:
                    continue
                before = float(exact.given.log_prob(clean)[0])
                swapped = clean.clone()
                swapped[list(pair)] = clean[list(pair[::-1])]
                lower[kind].append(float(exact.given.log_prob(swapped)[0]) < before)
                blind[kind].append(baseline(swapped) < baseline(clean))
                if kind == "any":
                    lower["found"].append(exact.best_swap(swapped)[:2] == tuple(sorted(pair)))
        watch("molecules", done, len(rows))
    return [
        mean_metric("nats_per_atom", -np.array(nats), "nats") | {"baseline": significant(-np.mean(plain))},
        share("swap_lowers_log_p", np.array(lower["any"])) | {"baseline": significant(np.mean(blind["any"]))},
        share("swap_of_one_element_lowers_log_p", np.array(lower["same"]))
        | {"baseline": significant(np.mean(blind["same"]))},
        share("swapped_pair_found", np.array(lower["found"]))
        | {"baseline": significant(np.mean([2 / (n * (n - 1)) for n in atoms]))},
        mean_metric("completion_error_e", np.array(errors), "e") | {"baseline": significant(np.mean(cheap))},
    ]


def distinct_pair(
    charges: torch.Tensor, numbers: Any, source: torch.Generator, *, same: bool
) -> tuple[int, int] | None:
    """Two random atoms whose charges differ by more than DISTINCT (of one element, if asked), or None."""
    n = len(charges)
    pairs = [
        (i, j)
        for i in range(n)
        for j in range(i)
        if abs(float(charges[i] - charges[j])) > DISTINCT and (not same or numbers[i] == numbers[j])
    ]
    return pairs[int(torch.randint(len(pairs), (1,), generator=source))] if pairs else None
