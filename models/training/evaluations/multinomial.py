"""Multinomial diffusion by its bound beside n-grams, by samples against steps, by repairs and by variations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chemistry.fingerprints import fingerprint, tanimoto
from chemistry.reasons import Failure
from chemistry.smiles import canonical_smiles
from models.core.random import molecule_seed
from models.multinomial.bound import score
from models.multinomial.model import MultinomialDiffusion
from models.multinomial.repair import Effort, Ranker, candidates, diffusion_ranker
from models.multinomial.sampling import Start, walk
from models.strings.edits import Ids, drop_unmatched
from models.strings.ngrams import NGrams
from models.training.data.strings import StringData, load
from models.training.evaluations import Metric, Options, Watch
from models.training.evaluations.figures import mean_metric, share, significant
from models.training.evaluations.strings import likelihood_metric, ngram_metrics, sample_metrics

STEPS = (100, 50, 25, 10)
NOISES = (0.1, 0.2, 0.3, 0.5, 0.7)
KINDS = ("substitute", "delete", "insert", "swap", "bracket")


def glimpse(model: MultinomialDiffusion) -> dict[str, float]:
    """Validity of 64 samples at 50 steps, for a look while training."""
    texts = sampled(model, range(64), 50, 0)
    return {"valid": sum(canonical_smiles(text) is not None for text in texts) / len(texts)}


def evaluate(
    model: MultinomialDiffusion, card: Mapping[str, Any], options: Options, watch: Watch
) -> list[Metric]:
    """`test_items` strings by the bound, `samples` drawn, `repairs` corruptions, `parents` molecules varied."""
    settings = options.only("repairs", "parents", "steps")
    data = card["training"]["data"]
    train, test = load(data, "train"), load(data, "test")
    gram = NGrams(np.asarray(train.ids), train.offsets, len(train.vocabulary), 5)
    metrics: list[Metric] = []
    if options.test_items:
        metrics += likelihoods(
            model, data, chosen(test, options.test_items, options.seed), options.seed, watch
        )
    metrics += samples(model, data, options, int(settings.get("steps", model.process.steps)), watch)
    broken = corruptions(
        chosen(test, int(settings.get("repairs", 100)), options.seed + 1), model, options.seed
    )
    metrics += repairs(model, gram, broken, options.seed, watch)
    metrics += variations(
        model, chosen(test, int(settings.get("parents", 40)), options.seed + 2), options, watch
    )
    return metrics


def chosen(data: StringData, count: int, seed: int) -> list[Ids]:
    """Some strings of a split."""
    rows = np.random.default_rng(seed).choice(len(data), min(count, len(data)), replace=False)
    return [tuple(data[int(row)]) for row in rows]


# --- likelihood and samples ----------------------------------------------------------------------------------------


def likelihoods(
    model: MultinomialDiffusion, data: str, strings: Sequence[Ids], seed: int, watch: Watch
) -> list[Metric]:
    """Bits of a molecule: the bound, and n-grams of orders 2 to 5 beside it."""
    found = []
    for done, tokens in enumerate(strings, 1):
        found.append(score(model, tokens, molecule_seed(seed, done), 1).likelihood.value)
        watch("likelihood", done, len(strings))
    ours = likelihood_metric("bits_per_molecule", np.array(found), kind="lower_bound")
    grams = ngram_metrics(data, strings, lambda k: watch("n-grams", k, 1))
    return [ours | {"baseline": grams[-1]["value"]}, *grams]


def sampled(model: MultinomialDiffusion, numbers: Iterable[int], steps: int, seed: int) -> list[str]:
    """The strings of these numbers, as a service draws them."""
    seeds = [molecule_seed(seed, k) for k in numbers]
    starts = [Start.empty(s, n) for s, n in zip(seeds, model.lengths.draw(seeds), strict=True)]
    return [model.vocabulary.decode(ids) for ids in walk(model, starts, steps) if ids is not None]


def samples(
    model: MultinomialDiffusion, data: str, options: Options, steps: int, watch: Watch
) -> list[Metric]:
    """MOSES' metrics at `steps`; valid with other numbers of steps, from a quarter of the samples, at most 1,000."""
    others = [other for other in STEPS if other != steps]
    texts: list[str] = []
    for start in range(0, options.samples, 500):
        texts += sampled(model, range(start, min(start + 500, options.samples)), steps, options.seed)
        watch(f"samples, {steps} steps", len(texts), options.samples)
    out = sample_metrics(texts, data, said={"steps": steps})
    for done, other in enumerate(others, 1):
        texts = sampled(model, range(min(max(options.samples // 4, 2), 1000)), other, options.seed + 1)
        marks = np.array([canonical_smiles(text) is not None for text in texts])
        out.append(share(f"valid_{other}_steps", marks) | {"steps": other})
        watch("samples, other steps", done, len(others))
    return out


# --- repair ---------------------------------------------------------------------------------------------------------


def corruptions(strings: Sequence[Ids], model: MultinomialDiffusion, seed: int) -> list[tuple[str, Ids, Ids]]:
    """(kind, broken, true): one random damage each, drawn again until RDKit refuses the result."""
    source = np.random.default_rng(seed)
    brackets = {model.vocabulary.ids[token] for token in ("(", ")") if token in model.vocabulary.ids}
    out = []
    for k, true in enumerate(strings):
        kind = KINDS[k % len(KINDS)]
        for _ in range(200):
            broken = damaged(kind, true, len(model.vocabulary), brackets, source)
            if broken and canonical_smiles(model.vocabulary.decode(broken)) is None:
                out.append((kind, broken, true))
                break
    return out


def damaged(
    kind: str, true: Ids, classes: int, brackets: set[int], source: np.random.Generator
) -> Ids | None:
    """A string with one damage; None where the kind cannot be done."""
    place = int(source.integers(len(true)))
    token = int(source.integers(classes))
    if kind == "substitute":
        return (*true[:place], token, *true[place + 1 :])
    if kind == "delete":
        return true[:place] + true[place + 1 :]
    if kind == "insert":
        return (*true[:place], token, *true[place:])
    if kind == "swap":
        place = min(place, len(true) - 2)
        return (*true[:place], true[place + 1], true[place], *true[place + 2 :])
    places = [k for k, one in enumerate(true) if one in brackets]
    if not places:
        return None
    place = places[int(source.integers(len(places)))]
    return true[:place] + true[place + 1 :]


def repairs(
    model: MultinomialDiffusion,
    gram: NGrams,
    broken: Sequence[tuple[str, Ids, Ids]],
    seed: int,
    watch: Watch,
) -> list[Metric]:
    """How often the damaged string is had back: by the diffusion, by the same search with the 5-gram, by dropping."""

    def judge(texts: Sequence[str]) -> list[bool]:
        return [canonical_smiles(text) is not None for text in texts]

    def by_gram(strings: Sequence[Ids], care: int) -> list[float]:  # noqa: ARG001
        return [float(value) for value in gram.log_prob(strings)] if strings else []

    rankers: dict[str, Callable[[int], Ranker]] = {
        "diffusion": lambda k: diffusion_ranker(model, molecule_seed(seed, k)), "gram": lambda _: by_gram,
    }  # fmt: skip
    first = {name: np.zeros(len(broken), bool) for name in (*rankers, "dropping")}
    five = {name: np.zeros(len(broken), bool) for name in rankers}
    mended = {name: np.zeros(len(broken), bool) for name in (*rankers, "dropping")}
    for k, (_, wrong, true) in enumerate(broken):
        wanted = canonical_smiles(model.vocabulary.decode(true))
        for name, ranker in rankers.items():
            found = candidates(wrong, model.vocabulary, model.longest, judge, ranker(k), Effort())
            smiles = [canonical_smiles(one.text) for one in found[:5]]
            mended[name][k] = bool(found)
            first[name][k], five[name][k] = wanted in smiles[:1], wanted in smiles
        dropped = canonical_smiles("".join(drop_unmatched([model.vocabulary.tokens[t] for t in wrong])))
        mended["dropping"][k], first["dropping"][k] = dropped is not None, dropped == wanted
        watch("repairs", k + 1, len(broken))

    def figures(name: str, marks: dict[str, Any]) -> list[Metric]:
        beside = {"baseline": significant(marks["gram"].mean())}
        out = [share(name, marks["diffusion"]) | beside]
        if "dropping" in marks:
            out.append(share(f"{name}_by_dropping_brackets", marks["dropping"]))
        return out

    out = figures("repaired", mended) + figures("repair_is_the_original", first)
    out += figures("original_among_five_repairs", five)
    for kind in KINDS:
        rows = np.array([one[0] == kind for one in broken])
        if rows.any():
            beside = {"baseline": significant(first["gram"][rows].mean())}
            out.append(share(f"repair_is_the_original_{kind}", first["diffusion"][rows]) | beside)
    return out


# --- vary -----------------------------------------------------------------------------------------------------------


def variations(
    model: MultinomialDiffusion, parents: Sequence[Ids], options: Options, watch: Watch
) -> list[Metric]:
    """Validity of variations, and Tanimoto similarity of valid ones to their molecule, against the noise."""
    out: list[Metric] = []
    for done, noise in enumerate(NOISES, 1):
        begin = max(1, round(noise * model.process.steps))
        starts = [
            Start(molecule_seed(options.seed, 8 * k + j), ids, (False,) * len(ids))
            for k, ids in enumerate(parents)
            for j in range(4)
        ]
        made = walk(model, starts, 50, begin=begin)
        marks, alike = [], []
        for start, ids in zip(starts, made, strict=True):
            text = canonical_smiles(model.vocabulary.decode(ids or []))
            marks.append(text is not None)
            own = fingerprint(model.vocabulary.decode(start.tokens), "morgan")
            other = None if text is None else fingerprint(text, "morgan")
            if other is not None and not isinstance(own, Failure) and not isinstance(other, Failure):
                alike.append(float(tanimoto(own, other[None])[0]))
        out.append(share(f"valid_variants_noise_{noise}", np.array(marks)))
        if len(alike) > 1:
            out.append(mean_metric(f"tanimoto_noise_{noise}", np.array(alike), ""))
        watch("variations", done, len(NOISES))
    return out
