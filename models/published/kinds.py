"""The three kinds of published checkpoints, each as a model of ours and what its card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from models.core.errors import CheckpointError, ConfigError
from models.edm.published import from_published as edm_from_published
from models.egnn.published import published_config
from models.egnn_properties.composition import UNITS
from models.egnn_properties.published import from_published as egnn_from_published
from models.enf.published import from_published as enf_from_published
from models.published.datasets import Published, published_dataset
from models.published.reading import arguments_in, find, read_state, refuse

Behavior = Literal["corrected", "published"]
Sizes = Mapping[int, int]


@dataclass(frozen=True)
class Imported:
    """A model and the parts of its card that depend on the kind of checkpoint."""

    family: str
    model: nn.Module
    data: Published
    sizes: Sizes
    title: str
    papers: tuple[str, ...]
    capabilities: tuple[str, ...]
    defaults: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any]


def import_edm(folder: Path, behavior: Behavior, sizes: Sizes | None) -> Imported:
    """An EDM, with or without conditions.

    "published" never makes the last element where the network has no charge channel, as the published sampler does.
    """
    arguments = arguments_in(folder)
    refuse(
        arguments,
        {
            "model": "egnn_dynamics", "probabilistic_model": "diffusion", "condition_time": True,
            "sin_embedding": False, "aggregation_method": "sum", "remove_h": False,
        },
    )  # fmt: skip
    data = published_dataset(str(arguments.get("dataset", "qm9")))
    state = read_state(find(folder, ("generative_model_ema.npy", "generative_model.npy")))
    charges = bool(arguments.get("include_charges", True))
    names = [str(name).lower() for name in arguments.get("conditioning", [])]
    strange = sorted(set(names) - set(data.scales))
    if strange:
        raise CheckpointError(f"the scales of the conditions {strange} on {data.title} are not known.")
    attention = bool(arguments.get("attention", True))
    if published_config(state).attention != attention:
        raise CheckpointError(f"the arguments say attention = {attention}, but the weights say otherwise.")
    conditions = [
        {"name": name, "unit": UNITS[name], "mean": data.scales[name][0], "spread": data.scales[name][1]}
        for name in names
    ]
    chosen = dict(sizes or data.sizes)
    model = edm_from_published(
        state, elements=data.elements, sizes=chosen, include_charges=charges, conditions=conditions,
        scales=arguments.get("normalize_factors", (1, 4, 10)),
        last_element=charges or behavior == "corrected",
        overrides={
            "divisor": float(arguments.get("normalization_factor", 1.0)),
            "distance_offset": float(arguments.get("norm_constant", 1.0)),
            "coordinate_range": 15.0 if arguments.get("tanh", True) else None,
        },
    )  # fmt: skip
    steps = len(state["gamma.gamma"].flatten()) - 1
    told = f" told {', '.join(names)}" if names else ""
    return Imported(
        "edm", model, data, chosen, f"Published EDM on {data.title}{told}", ("arXiv:2203.17003",),
        ("sample", "score"), {"sample": {"sampler": "ancestral", "steps": steps}}, arguments,
    )  # fmt: skip


def import_enf(folder: Path, behavior: Behavior, sizes: Sizes | None) -> Imported:
    """An E-NF.

    "published" counts the scale of positions in 3N dimensions and integrates to a tolerance of 1e-4, as the published
    scripts do; "corrected" counts 3(N-1), and scores to 1e-6.
    """
    arguments = arguments_in(folder)
    refuse(
        arguments,
        {
            "model": "egnn_dynamics", "dequantization": "argmax_variational", "condition_time": True,
            "actnorm": True, "conditioning": [], "x_aggregation": "sum", "tanh": True, "attention": True,
        },
    )  # fmt: skip
    data = published_dataset(str(arguments.get("dataset", "qm9")))
    flow = read_state(find(folder, ("flow_ema.npy", "flow.npy")))
    dequantizer = read_state(find(folder, ("dequantizer_ema.npy", "dequantizer.npy")))
    chosen = dict(sizes or data.sizes)
    model = enf_from_published(flow, dequantizer, elements=data.elements, sizes=chosen, jacobian=behavior)
    tolerance = {"published": 1e-4, "corrected": 1e-6}[behavior]
    defaults = {"sample": {"tolerance": 1e-4}, "score": {"tolerance": tolerance}}
    return Imported(
        "enf", model, data, chosen, f"Published E-NF on {data.title}", ("arXiv:2105.09016",),
        ("sample", "score"), defaults, arguments,
    )  # fmt: skip


def import_egnn(folder: Path, behavior: Behavior, sizes: Sizes | None) -> Imported:
    """An EGNN that predicts one property. It has no bugs to correct, so both behaviors are one."""
    del behavior
    arguments = arguments_in(folder)
    name = str(arguments.get("property", "")).lower()
    data = published_dataset(str(arguments.get("dataset", "qm9")))
    if name not in data.scales:
        raise CheckpointError(
            f"the arguments name the property {name!r}; known on {data.title} are {', '.join(data.scales) or 'none'}."
        )
    refuse(arguments, {"node_attr": False, "charge_power": 2})
    mean, spread = data.scales[name]
    state = read_state(find(folder, ("best_checkpoint.npy", "model_ema.npy", "model.npy")))
    model = egnn_from_published(
        state, elements=data.elements, name=name,
        mean=float(arguments.get("mean", mean)), spread=float(arguments.get("mad", spread)),
    )  # fmt: skip
    chosen = dict(sizes or data.sizes)
    return Imported(
        "egnn_properties", model, data, chosen, f"Published EGNN on {data.title}: {name}",
        ("arXiv:2102.09844",), ("predict",), {}, arguments,
    )  # fmt: skip


KINDS: dict[str, Callable[[Path, Behavior, Sizes | None], Imported]] = {
    "edm": import_edm,
    "enf": import_enf,
    "egnn": import_egnn,
}


def import_checkpoint(kind: str, folder: Path, behavior: str, sizes: Sizes | None = None) -> Imported:
    """The model in a published checkpoint folder. Raises CheckpointError or ConfigError with the obstruction."""
    if kind not in KINDS:
        raise ConfigError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}.")
    if behavior not in ("corrected", "published"):
        raise ConfigError(f"behavior is {behavior!r}; choose 'corrected' or 'published'.")
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is no folder; give the one that holds the weights and the arguments."
        )
    return KINDS[kind](folder, behavior, sizes)  # type: ignore[arg-type]
