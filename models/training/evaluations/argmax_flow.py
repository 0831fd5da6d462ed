"""Argmax flows by their bounds beside n-grams, by MOSES' metrics of samples, and by paths between molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chemistry.fingerprints import fingerprint, tanimoto
from chemistry.reasons import Failure
from chemistry.smiles import canonical_smiles
from models.argmax_flow.bound import score
from models.argmax_flow.model import ArgmaxFlow
from models.argmax_flow.sampling import path, sample
from models.core.random import molecule_seed
from models.training.data.strings import StringData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share
from models.training.evaluations.strings import likelihood_metric, ngram_metrics, sample_metrics, spread

SETTINGS = ("draws", "temperature", "temperatures", "reference", "paths")
POSITIONS = (0.125, 0.25, 0.5, 0.75, 0.875)


def glimpse(model: ArgmaxFlow) -> dict[str, float]:
    """Validity of 64 samples, for a look while training."""
    texts = sampled(model, 64, 0, 1.0)
    return {"valid": sum(canonical_smiles(text) is not None for text in texts) / len(texts)}


def evaluate(model: ArgmaxFlow, card: Mapping[str, Any], options: Options, watch: Watch) -> list[Metric]:
    """Settings: draws of the weighted bound; temperature of the samples, and other temperatures to measure validity
    at; reference: test molecules that samples are compared with; paths between test molecules.
    """
    chosen = options.only(*SETTINGS)
    data = card["training"]["data"]
    test = load(data, "test")
    metrics: list[Metric] = []
    if options.test_items:
        metrics += likelihoods(model, data, test, options, int(chosen.get("draws", 16)), watch)
    metrics += samples(model, data, options, chosen, watch)
    if paths := int(chosen.get("paths", 100)):
        metrics += interpolations(model, test, paths, options.seed, watch)
    return metrics


def likelihoods(
    model: ArgmaxFlow, data: str, test: StringData, options: Options, draws: int, watch: Watch
) -> list[Metric]:
    """Bits of a test molecule: the weighted bound, the plain one of the same draws, and n-grams of orders 2 to 5."""
    strings = [test[row] for row in spread(len(test), options.test_items)]
    weighted, plain = [], []
    for k, ids in enumerate(strings):
        found = score(model, ids, molecule_seed(options.seed, k), draws)
        weighted.append(found.value)
        plain.append(found.terms["length"] + found.terms["plain"])
        watch("likelihood", k + 1, len(strings))
    grams = ngram_metrics(data, strings, lambda k: watch("n-grams", k, 1))
    said = {"kind": "lower_bound", "draws": draws, "baseline": grams[-1]["value"]}
    return [
        likelihood_metric("bits_per_molecule", np.array(weighted), **said),
        likelihood_metric("bits_per_molecule_plain_bound", np.array(plain), **said),
        *grams,
    ]


def sampled(model: ArgmaxFlow, count: int, seed: int, temperature: float) -> list[str]:
    """Strings as a service draws them."""
    seeds = [molecule_seed(seed, k) for k in range(count)]
    made = sample(model, seeds, temperature=temperature)
    return [model.vocabulary.decode(ids) for ids in made if ids is not None]


def samples(
    model: ArgmaxFlow, data: str, options: Options, chosen: Mapping[str, Any], watch: Watch
) -> list[Metric]:
    """MOSES' metrics at one temperature; validity at others, of at most 500 samples each."""
    temperature = float(chosen.get("temperature", 1.0))
    texts: list[str] = []
    for start in range(0, options.samples, 500):
        count = min(500, options.samples - start)
        texts += sampled(model, count, options.seed + start, temperature)
        watch("samples", len(texts), options.samples)
    said = {"temperature": temperature}
    out = sample_metrics(texts, data, most=int(chosen.get("reference", 10_000)), said=said)
    for other in chosen.get("temperatures", (0.7, 0.85)):
        texts = sampled(model, min(options.samples, 500), options.seed + 1, float(other))
        marks = np.array([canonical_smiles(text) is not None for text in texts])
        out.append(share(f"valid_at_temperature_{other}", marks) | {"temperature": float(other)})
        out.append(share(f"unique_at_temperature_{other}", _first(texts)) | {"temperature": float(other)})
    return out


def _first(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the valid strings write a molecule for the first time."""
    seen: set[str] = set()
    marks = []
    for smiles in filter(None, map(canonical_smiles, texts)):
        marks.append(smiles not in seen)
        seen.add(smiles)
    return np.array(marks or [False])


def interpolations(model: ArgmaxFlow, test: StringData, paths: int, seed: int, watch: Watch) -> list[Metric]:
    """Paths between pairs of test molecules: validity inside, similarity to the start along the way, and that of the
    ends to each other, which is what no relation looks like.
    """
    rows = np.random.default_rng(seed).choice(len(test), 2 * paths, replace=False)
    marks: list[bool] = []
    alike: dict[float, list[float]] = {at: [] for at in (*POSITIONS, 1.0)}
    kept = []
    for k in range(paths):
        start, end = (test[int(row)] for row in rows[2 * k : 2 * k + 2])
        stops = path(model, start, end, [0.0, *POSITIONS, 1.0], molecule_seed(seed, k))
        kept.append(list(stops[0].tokens) == start and list(stops[-1].tokens) == end)
        own = fingerprint(model.vocabulary.decode(start), "morgan")
        for stop in stops[1:]:
            text = model.vocabulary.decode(stop.tokens)
            other = fingerprint(text, "morgan")
            if stop.position < 1:
                marks.append(not isinstance(other, Failure))
            if not isinstance(own, Failure) and not isinstance(other, Failure):
                alike[stop.position].append(float(tanimoto(own, other[None])[0]))
        watch("paths", k + 1, paths)
    out = [share("path_ends_kept", np.array(kept)), share("valid_on_paths", np.array(marks))]
    for at, values in alike.items():
        if len(values) > 1:
            name = "similarity_of_path_ends" if at == 1 else f"similarity_to_start_at_{at}"
            out.append(mean_metric(name, np.array(values), ""))
    return out
