"""Weights of the published EDM, E-NF and property networks in ours: the same layers under other names, the first of
each pair network split into its receiver, sender and edge parts (layouts: e3_diffusion_for_molecules,
egnn/egnn_new.py; en_flows, egnn/gcl.py; egnn, qm9/models.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from models.core.errors import CheckpointError
from models.egnn.config import EGNNConfig

# Whole layers: the published name within a block, and ours. k is the number of the sublayer.
INTERACTION = {
    "edge_mlp.2": "second",
    "att_mlp.0": "gate",
    "node_mlp.0": "node_first",
    "node_mlp.2": "node_second",
}


def split_layer(prefix: str, weight: Tensor, bias: Tensor, width: int) -> dict[str, Tensor]:
    """A layer on [h_i, h_j, e_ij] as the three parts of a `PairInput` named `prefix`."""
    return {
        f"{prefix}.receiver.weight": weight[:, :width],
        f"{prefix}.receiver.bias": bias,
        f"{prefix}.sender.weight": weight[:, width : 2 * width],
        f"{prefix}.edge.weight": weight[:, 2 * width :],
    }


def network_weights(published: Mapping[str, Tensor], prefix: str = "dynamics.egnn.") -> dict[str, Tensor]:
    """A state dict for our EGNN from the published keys `prefix...`.

    Raises CheckpointError when a key is missing or left over: then it is another network.
    """
    rest = {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}

    def take(name: str) -> Tensor:
        try:
            return rest.pop(name)
        except KeyError:
            raise CheckpointError(f"the published checkpoint has no {prefix}{name}.") from None

    out = {
        f"{layer}.{kind}": take(f"{layer}.{kind}")
        for layer in ("embedding", "embedding_out")
        for kind in ("weight", "bias")
    }
    width = out["embedding.weight"].shape[0]
    config = published_config(published, prefix)
    for b in range(config.layers):
        for k in range(config.sublayers):
            theirs, ours = f"e_block_{b}.gcl_{k}", f"blocks.{b}.interactions.{k}"
            weight, bias = take(f"{theirs}.edge_mlp.0.weight"), take(f"{theirs}.edge_mlp.0.bias")
            out |= split_layer(f"{ours}.first", weight, bias, width)
            for name, own in INTERACTION.items():
                if name.startswith("att") and not config.attention:
                    continue
                out |= {
                    f"{ours}.{own}.{kind}": take(f"{theirs}.{name}.{kind}") for kind in ("weight", "bias")
                }
        theirs, ours = f"e_block_{b}.gcl_equiv.coord_mlp", f"blocks.{b}.displacement"
        out |= split_layer(f"{ours}.first", take(f"{theirs}.0.weight"), take(f"{theirs}.0.bias"), width)
        out |= {f"{ours}.hidden.0.{kind}": take(f"{theirs}.2.{kind}") for kind in ("weight", "bias")}
        out[f"{ours}.last.weight"] = take(f"{theirs}.4.weight")
    if rest:
        raise CheckpointError(
            f"the published checkpoint has layers that EDM's network lacks: {sorted(rest)[:3]}."
        )
    return {name: value.contiguous() for name, value in out.items()}


def published_config(published: Mapping[str, Tensor], prefix: str = "dynamics.egnn.") -> EGNNConfig:
    """The sizes of a published network, read from its shapes. Raises CheckpointError when there is none."""
    blocks = [re.match(rf"{re.escape(prefix)}e_block_(\d+)\.gcl_(\d+)\.", name) for name in published]
    found = [(int(match[1]), int(match[2])) for match in blocks if match]
    name = f"{prefix}embedding.weight"
    if not found or name not in published:
        raise CheckpointError(f"the checkpoint has no EDM network under {prefix!r}.")
    width, channels = published[name].shape
    plain = EGNNConfig.published_edm(channels, width=width, layers=max(b for b, _ in found) + 1)
    return EGNNConfig(
        **{
            **plain.to_dict(),
            "sublayers": max(k for _, k in found) + 1,
            "attention": f"{prefix}e_block_0.gcl_0.att_mlp.0.weight" in published,
        }
    )


def layers_under(published: Mapping[str, Tensor], prefix: str) -> EGNNConfig:
    """The sizes of a published E-NF network (vgsatorras/en_flows, egnn/gcl.py) under `prefix`, read from its shapes.

    With a gate it is the vector field's, whose displacements are bounded; without, the dequantizer's.
    Raises CheckpointError when there is none.
    """
    found = [re.match(rf"{re.escape(prefix)}gcl_(\d+)\.", name) for name in published]
    layers = [int(match[1]) for match in found if match]
    try:
        width, inputs = published[f"{prefix}embedding.weight"].shape
        outputs = published[f"{prefix}embedding_out.weight"].shape[0]
        edge = published[f"{prefix}gcl_0.edge_mlp.0.weight"].shape[1]
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint has no E-NF network under {prefix!r}: {error} is missing."
        ) from None
    gate = f"{prefix}gcl_0.att_mlp.0.weight" in published
    return EGNNConfig.published_enf(
        inputs, outputs, width=width, layers=max(layers) + 1,
        attention=gate, bounded=gate, input_distance=edge == 2 * width + 2,
    )  # fmt: skip


def layered_weights(published: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A state dict for our EGNN from a published E-NF network under `prefix`.

    Raises CheckpointError when a key is missing or left over: then it is another network.
    """
    config = layers_under(published, prefix)
    rest = {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}

    def take(name: str) -> Tensor:
        try:
            return rest.pop(name)
        except KeyError:
            raise CheckpointError(f"the published checkpoint has no {prefix}{name}.") from None

    kinds = ("weight", "bias")
    out = {f"{layer}.{k}": take(f"{layer}.{k}") for layer in ("embedding", "embedding_out") for k in kinds}
    for b in range(config.layers):
        theirs, ours = f"gcl_{b}", f"blocks.{b}.interactions.0"
        weight, bias = take(f"{theirs}.edge_mlp.0.weight"), take(f"{theirs}.edge_mlp.0.bias")
        out |= split_layer(f"{ours}.first", weight, bias, config.width)
        for name, own in INTERACTION.items():
            if config.attention or not name.startswith("att"):
                out |= {f"{ours}.{own}.{k}": take(f"{theirs}.{name}.{k}") for k in kinds}
        displacement = f"blocks.{b}.displacement"
        out |= {f"{displacement}.hidden.0.{k}": take(f"{theirs}.coord_mlp.0.{k}") for k in kinds}
        out[f"{displacement}.last.weight"] = take(f"{theirs}.coord_mlp.2.weight")
    if rest:
        raise CheckpointError(
            f"the published checkpoint has layers that E-NF's network lacks: {sorted(rest)[:3]}."
        )
    return {name: value.contiguous() for name, value in out.items()}


def stays_config(published: Mapping[str, Tensor]) -> EGNNConfig:
    """The sizes of a published property network, whose nodes stay, read from its shapes.

    Raises CheckpointError when there is none, or one with node attributes.
    """
    found = [re.match(r"gcl_(\d+)\.", name) for name in published]
    layers = [int(match[1]) for match in found if match]
    wanted = ("embedding.weight", "gcl_0.node_mlp.0.weight", "gcl_0.edge_mlp.0.weight")
    missing = [name for name in wanted if name not in published]
    if missing:
        raise CheckpointError(f"the checkpoint has no property network: {missing[0]} is missing.")
    width, inputs = published["embedding.weight"].shape
    node, edge = (published[name].shape[1] for name in wanted[1:])
    if (node, edge) != (2 * width, 2 * width + 1):
        raise CheckpointError(
            f"the published network reads {node} and {edge} numbers of a node and of a pair, but one without node "
            f"attributes reads {2 * width} and {2 * width + 1}."
        )
    plain = EGNNConfig.published_property(inputs, width=width, layers=max(layers) + 1)
    return EGNNConfig(**{**plain.to_dict(), "attention": "gcl_0.att_mlp.0.weight" in published})


def stays_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layers of a published property network, but for its readout, under the names of our EGNN.

    Raises CheckpointError when a key is missing or left over: then it is another network.
    """
    config = stays_config(published)
    rest = {
        name: value for name, value in published.items() if not name.startswith(("node_dec.", "graph_dec."))
    }

    def take(name: str) -> Tensor:
        try:
            return rest.pop(name)
        except KeyError:
            raise CheckpointError(f"the published checkpoint has no {name}.") from None

    kinds = ("weight", "bias")
    out = {f"embedding.{k}": take(f"embedding.{k}") for k in kinds}
    for b in range(config.layers):
        theirs, ours = f"gcl_{b}", f"blocks.{b}.interactions.0"
        weight, bias = take(f"{theirs}.edge_mlp.0.weight"), take(f"{theirs}.edge_mlp.0.bias")
        out |= split_layer(f"{ours}.first", weight, bias, config.width)
        for name, own in INTERACTION.items():
            if config.attention or not name.startswith("att"):
                out |= {f"{ours}.{own}.{k}": take(f"{theirs}.{name}.{k}") for k in kinds}
    if rest:
        raise CheckpointError(
            f"the published checkpoint has layers that the network lacks: {sorted(rest)[:3]}."
        )
    return {name: value.contiguous() for name, value in out.items()}
