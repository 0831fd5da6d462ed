"""ARDM: likelihood beside n-grams and a left-to-right model, MOSES' metrics, validity against budget, compression."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chemistry.smiles import canonical_smiles
from models.ardm.codec import Codec
from models.ardm.likelihood import score
from models.ardm.model import ARDM
from models.ardm.ordered import sample_ordered
from models.ardm.sampling import sample
from models.core.library_file import Library, write
from models.core.random import molecule_seed
from models.training.data.strings import StringData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import share
from models.training.evaluations.packing import beside
from models.training.evaluations.strings import likelihood_metric, ngram_metrics, sample_metrics, spread
from models.weights import load_model

GRID = 24
SETTINGS = ("temperature", "steps", "draws", "reference", "baseline", "library", "block", "budgets", "order")


@torch.inference_mode()
def difficulty(
    model: ARDM, data: StringData, *, strings: int = 256, seed: int = 0
) -> list[dict[str, float | list[float]]]:
    """For every stage, over some strings of a split: the share of places that it tells of, and nats a place against
    the share already told, on an even grid.
    """
    source = torch.Generator().manual_seed(seed)
    rows = spread(len(data), strings)
    out: list[dict[str, float | list[float]]] = []
    for stage in range(model.hierarchy.stages):
        sums, counts, shares = np.zeros(GRID), np.zeros(GRID), []
        for row in rows:
            tokens = torch.tensor([data[row]])
            unknown = (model.hierarchy.at(tokens, stage) != model.hierarchy.at(tokens, stage + 1))[0]
            n = int(unknown.sum())
            shares.append(n / len(unknown))
            if not n:
                continue
            rank = torch.full(unknown.shape, -1)
            rank[unknown] = torch.randperm(n, generator=source)
            hidden = rank[None] >= torch.arange(n)[:, None]
            told = model.log_told(tokens.expand(n, -1), hidden, stage)
            losses = -(told * hidden).sum(1) / hidden.sum(1)
            bins = (torch.arange(n) * GRID // n).numpy()
            np.add.at(sums, bins, losses.double().numpy())
            np.add.at(counts, bins, 1)
        known = np.flatnonzero(counts)
        nats = np.interp(np.arange(GRID), known, sums[known] / counts[known]) if len(known) else sums
        out.append({
            "places": round(float(np.mean(shares)), 4), "nats": [round(float(value), 5) for value in nats],
        })  # fmt: skip
    return out


def finish(model: ARDM, data: str) -> dict[str, Any]:
    """After training: what the dynamic programme needs to know, measured on the validation split."""
    if model.order != "any":
        return {}
    model.config["difficulty"] = difficulty(model, load(data, "valid"))
    return {"config": model.config}


def evaluate(model: ARDM, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Settings: temperature and steps of the samples; draws of the bound; reference: test molecules that samples are
    compared with; baseline: the card of a left-to-right model; library: molecules to compress, in blocks of `block`
    and an `order`; budgets: network calls to measure validity at.
    """
    chosen = options.only(*SETTINGS)
    data = card["training"]["data"]
    metrics: list[Metric] = []
    if options.test_items:
        metrics += likelihoods(model, data, options, chosen, watch)
    if chosen.get("library", 10_000):
        metrics += compression(model, card, data, chosen, watch)
    temperature = float(chosen.get("temperature", 1.0))
    budgets = chosen.get("budgets", (4, 8, 16, 24)) if model.order == "any" else ()
    for budget in [*budgets, None]:
        count = options.samples if budget is None else min(options.samples, 500)
        done = 0
        for even in (False, True) if budget is not None else (False,):
            texts: list[str] = []
            for start in range(0, count, 500):
                seeds = [molecule_seed(options.seed, k) for k in range(start, min(start + 500, count))]
                if model.order == "any":
                    steps = budget or chosen.get("steps")
                    found = sample(model, seeds, steps=steps, temperature=temperature, even=even)
                else:
                    found = sample_ordered(model, model.lengths.draw(seeds), seeds, temperature=temperature)
                texts += [model.vocabulary.decode(one.tokens) for one in found]
                done = len(texts)
                watch(f"sampling, budget {budget or 'full'}", done, count)
            said = {"temperature": temperature}
            if budget is None:
                most = int(chosen.get("reference", 10_000))
                metrics += sample_metrics(texts, data, most=most, said=said)
            else:
                marks = np.array([canonical_smiles(text) is not None for text in texts])
                name = f"valid_at_{budget}_calls" + ("_even_policy" if even else "")
                metrics.append(share(name, marks) | said)
    return metrics


def likelihoods(
    model: ARDM, data: str, options: Options, chosen: Mapping[str, Any], watch: Watch
) -> list[Metric]:
    """Bits per molecule of the test split: the bound over random orders, each fixed order, and the baselines."""
    test = load(data, "test")
    strings = [test[row] for row in spread(len(test), options.test_items)]
    out = []
    orders = ("random", "left-to-right", "right-to-left") if model.order == "any" else ("left-to-right",)
    for order in orders:
        values, errors = [], []
        for k, ids in enumerate(strings):
            found = score(
                model, ids, molecule_seed(options.seed, k), draws=int(chosen.get("draws", 2)), order=order
            )
            values.append(found.log_prob)
            errors.append(found.standard_error)
            watch(f"scoring, {order}", k + 1, len(strings))
        kind = "lower_bound" if order == "random" else "exact"
        said = {"kind": kind, "order": order}
        name = "bits_per_molecule" if order == orders[0] else f"bits_per_molecule_{order.replace('-', '_')}"
        out.append(likelihood_metric(name, np.array(values), **said))
    if path := chosen.get("baseline"):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        other: Any = load_model(content, Path(path).parent / content["weights"]["file"])
        values = [score(other, ids, 0).log_prob for ids in strings]
        told = {"kind": "exact", "molecules_seen": content["training"]["molecules"]}
        out.append(likelihood_metric("bits_per_molecule_left_to_right_model", np.array(values), **told))
    grams = ngram_metrics(data, strings, lambda done: watch("n-grams", done, 1))
    five = grams[-1]["value"]
    return [out[0] | {"baseline": five}, *out[1:], *grams]


def compression(
    model: ARDM, card: Mapping[str, Any], data: str, chosen: Mapping[str, Any], watch: Watch
) -> list[Metric]:
    """A library of test molecules, compressed and read back, beside zstd -19 and xz -9 on the same lines."""
    test = load(data, "test")
    count, block = int(chosen.get("library", 10_000)), int(chosen.get("block", 16))
    strings = [test[row] for row in spread(len(test), count)]
    order = str(chosen.get("order", "left-to-right"))
    codec = Codec(model, order=order)
    started, blocks, cost = time.monotonic(), [], 0.0
    for start in range(0, count, block):
        made, bits = codec.encode(strings[start : start + block])
        blocks.append(made)
        cost += sum(bits)
        watch("compressing", start, count)
    encoding = time.monotonic() - started
    file = write(Library(card["weights"]["sha256"], order, 0, tuple(blocks)))
    started, back = time.monotonic(), []
    for start in range(0, len(blocks), 32):
        back += [ids for found in codec.decode(blocks[start : start + 32]) for ids in found]
        watch("decompressing", start * block, count)
    decoding = time.monotonic() - started
    text = "".join(model.vocabulary.decode(ids) + "\n" for ids in strings).encode()
    said = {"n": count, "unit": "bits", "block": block, "order": order}
    out: list[Metric] = [
        {
            "name": "compressed_bits_per_molecule",
            "value": round(8 * len(file) / count, 3),
            **said,
            "bytes": len(file),
        },
        {"name": "model_bits_per_molecule", "value": round(cost / count, 3), **said},
        {"name": "lossless", "unit": "share", "value": float(back == strings), "n": count},
        {"name": "compression_molecules_per_second", "value": round(count / encoding, 2), "n": count},
        {"name": "decompression_molecules_per_second", "value": round(count / decoding, 2), "n": count},
    ]
    return out + beside(text, len(file), count, "_per_molecule")


def glimpse(model: ARDM) -> dict[str, float]:
    """A quick look during training: the validity of 128 samples."""
    seeds = list(range(128))
    if model.order == "any":
        found = sample(model, seeds)
    else:
        found = sample_ordered(model, model.lengths.draw(seeds), seeds)
    texts = [model.vocabulary.decode(one.tokens) for one in found]
    return {"valid": sum(canonical_smiles(text) is not None for text in texts) / len(texts)}
