"""Fingerprint densities by held-out nats beside the tree and independent bits; by samples; as a domain score."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.library_file import Library as Layout
from models.core.library_file import write
from models.core.random import generator, molecule_seed
from models.ddf.codec import FingerprintCodec
from models.ddf.library import Library
from models.ddf.model import QUANTILES, FingerprintDDF
from models.training.data.fingerprints import load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant
from models.training.evaluations.packing import beside

LIBRARY = 20_000
"""Training molecules kept to name the nearest one."""

CHUNK = 4096
PACKED = 4096
"""Test molecules whose fingerprints are compressed."""
BLOCK = 64


def finish(model: FingerprintDDF, data: str) -> dict[str, Any]:
    """After growing: count the baselines, keep real molecules, and tabulate held-out log-probabilities."""
    train, valid = load(data, "train"), load(data, "valid")
    chosen = np.sort(np.random.default_rng(0).choice(len(train), min(LIBRARY, len(train)), replace=False))
    model.library = Library.of(
        [train.smiles[k] for k in chosen], {kind: bits[chosen] for kind, bits in train.bits.items()}
    )
    for kind in model.flows:
        baseline: Any = model.baselines[kind]
        baseline.fit(train.bits[kind])
        logs = in_chunks(partial(model.log_prob, kind), valid.bits[kind])
        model.get_buffer(f"quantiles_{kind}").copy_(
            torch.from_numpy(np.quantile(logs, np.linspace(0, 1, QUANTILES)))
        )
    return {"config": model.config, "library": {"molecules": len(chosen), "data": f"{data}/train"}}


def in_chunks(function: Callable[[Tensor], Tensor], bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A function of rows, `[n]`, in pieces that fit a cache."""
    with torch.no_grad():
        parts = [function(part) for part in torch.split(torch.from_numpy(bits), CHUNK)]
    return torch.cat(parts).double().numpy()


def evaluate(model: FingerprintDDF, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Nats of `test_items` molecules, how real `samples` are, and how well bit errors are told from molecules."""
    options.only()
    model.double()
    test = load(card["training"]["data"], "test")
    train = load(card["training"]["data"], "train")
    metrics: list[Metric] = []
    for kind in model.flows:
        bits = test.bits[kind][: options.test_items or None]
        metrics += likelihoods(model, kind, bits)
        watch(f"{kind}, likelihood", 1, 1)
        metrics.append(wrong_bits(model, kind, bits, options.seed))
        watch(f"{kind}, wrong bits", 1, 1)
        metrics += samples(model, kind, bits, train.bits[kind], options)
        watch(f"{kind}, samples", 1, 1)
        metrics += compression(model, kind, bits[:PACKED])
        watch(f"{kind}, compression", 1, 1)
    return metrics


def likelihoods(model: FingerprintDDF, kind: str, bits: NDArray[np.uint8]) -> list[Metric]:
    """Nats of a fingerprint: the flow, and as figures of their own the tree and independent bits."""
    flow = -in_chunks(partial(model.log_prob, kind), bits)
    baseline: Any = model.baselines[kind]
    cheap = {name: -in_chunks(getattr(baseline, name), bits) for name in ("chow_liu", "bernoulli")}
    tree = {"baseline": significant(cheap["chow_liu"].mean())}
    return [
        mean_metric(f"nats_{kind}", flow, "nats") | tree,
        mean_metric(f"gain_on_tree_{kind}", cheap["chow_liu"] - flow, "nats"),
        *(mean_metric(f"nats_{kind}_{name}", values, "nats") for name, values in cheap.items()),
    ]


def wrong_bits(model: FingerprintDDF, kind: str, bits: NDArray[np.uint8], seed: int) -> Metric:
    """How often a fingerprint with two random bits turned is less likely than the true one; baseline: the tree."""
    source = np.random.default_rng(seed)
    turned = bits.copy()
    varying = np.flatnonzero((bits.mean(0) > 0) & (bits.mean(0) < 1))
    for row in turned:
        row[source.choice(varying, 2, replace=False)] ^= 1
    baseline: Any = model.baselines[kind]
    marks = {}
    for name, density in (("flow", partial(model.log_prob, kind)), ("tree", baseline.chow_liu)):
        marks[name] = in_chunks(density, bits) > in_chunks(density, turned)
    return share(f"two_wrong_bits_told_{kind}", marks["flow"]) | {
        "baseline": significant(marks["tree"].mean())
    }


def samples(
    model: FingerprintDDF,
    kind: str,
    bits: NDArray[np.uint8],
    known: NDArray[np.uint8],
    options: Options,
) -> list[Metric]:
    """Nearest real molecule of drawn fingerprints and the share that some molecule has; baseline: the tree's."""
    sources = [generator(molecule_seed(options.seed, k)) for k in range(options.samples)]
    drawn = model.sample(kind, sources).numpy().astype(np.uint8)
    tree = tree_samples(model, kind, options)
    train = {row.tobytes() for row in np.packbits(known, axis=1)}
    real = bits[: options.samples]

    def nearest(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array([model.library.nearest(kind, row, 1)[0].tanimoto for row in rows])

    def known_rows(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([row.tobytes() in train for row in np.packbits(rows, axis=1)])

    beside = {"data": significant(nearest(real).mean()), "baseline": significant(nearest(tree).mean())}
    shares = {"data": significant(known_rows(real).mean()), "baseline": significant(known_rows(tree).mean())}
    unique = len({row.tobytes() for row in np.packbits(drawn, axis=1)}) / len(drawn)
    return [
        mean_metric(f"nearest_tanimoto_{kind}", nearest(drawn), "") | beside,
        share(f"of_a_training_molecule_{kind}", known_rows(drawn)) | shares,
        {"name": f"unique_{kind}", "unit": "share", "value": round(unique, 5), "n": len(drawn)},
    ]


def tree_samples(model: FingerprintDDF, kind: str, options: Options) -> NDArray[np.uint8]:
    """Fingerprints of the Chow-Liu tree."""
    baseline: Any = model.baselines[kind]
    found: NDArray[np.uint8] = baseline.sample(options.samples, generator(options.seed, "tree")).numpy()
    return found


def compression(model: FingerprintDDF, kind: str, bits: NDArray[np.uint8]) -> list[Metric]:
    """Bits a fingerprint in a file, read back to prove that nothing is lost, beside other packers of the bits."""
    codec = FingerprintCodec(model.flow(kind))
    started = time.monotonic()
    blocks = [codec.encode(bits[start : start + BLOCK])[0] for start in range(0, len(bits), BLOCK)]
    encoding = time.monotonic() - started
    file = write(Layout("00" * 32, kind, 0, tuple(blocks)))
    back = np.concatenate([codec.decode(block) for block in blocks])
    said = {"n": len(bits), "unit": "bits", "block": BLOCK, "bytes": len(file)}
    packed = np.packbits(bits, axis=1).tobytes()
    return [
        {"name": f"compressed_bits_{kind}", "value": round(8 * len(file) / len(bits), 3), **said},
        {"name": f"lossless_{kind}", "unit": "share", "value": float((back == bits).all()), "n": len(bits)},
        {"name": f"compressed_per_second_{kind}", "value": round(len(bits) / encoding), "n": len(bits)},
        *beside(packed, len(file), len(bits), f"_{kind}"),
    ]
