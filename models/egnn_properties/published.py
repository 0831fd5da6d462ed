"""Published EGNN property models and EDM's classifiers as models of ours (layout: vgsatorras/egnn, qm9/models.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from models.core.errors import CheckpointError
from models.egnn.published import stays_config, stays_weights
from models.egnn_properties.model import PropertyEGNN


def from_published(
    published: Mapping[str, Tensor], *, elements: Sequence[int], name: str, mean: float, spread: float
) -> PropertyEGNN:
    """A property model from the state dict of the published code, which predicts (value - mean) / spread.

    elements: atomic numbers in the order of its one-hot channels. name: the property, as in `composition`.
    The scale of the error is one number for all molecules. Raises CheckpointError when the weights are not those of
    such a model.
    """
    network = stays_config(published)
    count = len(elements)
    kinds = {count: "elements", 3 * count: "powers"}
    if network.inputs not in kinds:
        raise CheckpointError(
            f"the published network has {network.inputs} input channels, but {count} elements make "
            f"{count}, or {3 * count} with powers of the charge."
        )
    settings = network.to_dict()
    model = PropertyEGNN(
        {
            "elements": list(elements), "properties": [name], "readout": "published",
            "components": {
                name: {"counts": [0.0] * count, "constant": mean, "moment": 0.0, "scale": spread}
            },
            "input": kinds[network.inputs],
            "network": {key: value for key, value in settings.items() if key != "inputs"},
        }
    )  # fmt: skip
    theirs = {"network.embedding_out": "node_dec.0", "readout.node": "node_dec.2"}
    theirs |= {"readout.hidden": "graph_dec.0", "readout.last": "graph_dec.2"}
    state = model.state_dict()
    state |= {f"network.{key}": value for key, value in stays_weights(published).items()}
    for ours, their in theirs.items():
        for kind in ("weight", "bias"):
            if f"{their}.{kind}" not in published:
                raise CheckpointError(f"the published checkpoint has no {their}.{kind}.")
            state[f"{ours}.{kind}"] = published[f"{their}.{kind}"]
    model.load_state_dict(state)
    for layer in (model.error_hidden, model.error_last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model.eval().requires_grad_(False)
