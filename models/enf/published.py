"""Published E-NF checkpoints as models of ours (layout: vgsatorras/en_flows, flow.npy and dequantizer.npy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from models.core.errors import CheckpointError
from models.egnn.config import EGNNConfig
from models.egnn.published import layered_weights, layers_under
from models.enf.actnorm import Jacobian
from models.enf.model import ENF

FIELD = "transformations.1.odefunc.dynamics.egnn."
DEQUANTIZER = "net_fn.egnn."


def settings(network: EGNNConfig) -> dict[str, Any]:
    """A network's settings for a card; the numbers of channels follow from the elements."""
    return {name: value for name, value in network.to_dict().items() if name not in ("inputs", "outputs")}


def from_published(
    flow: Mapping[str, Tensor],
    dequantizer: Mapping[str, Tensor],
    *,
    elements: Sequence[int],
    sizes: Mapping[int, int],
    jacobian: Jacobian = "corrected",
) -> ENF:
    """An E-NF from the two published state dicts: actnorm, field and argmax-variational dequantizer.

    elements: atomic numbers in the order of the one-hot channels, before the charge. sizes: histogram of the training
    molecules. jacobian: see `ActNorm`. Raises CheckpointError when the weights are those of another model.
    """
    channels = len(elements) + 1
    field = layers_under(flow, FIELD)
    own = layers_under(dequantizer, DEQUANTIZER)
    for name, found, wanted in (("flow", field.inputs, channels + 1), ("dequantizer", own.inputs, channels)):
        if found != wanted:
            raise CheckpointError(
                f"the published {name} has {found} input channels, but {len(elements)} elements and the charge "
                f"make {wanted}."
            )
    model = ENF(
        {
            "kind": "published", "elements": list(elements), "sizes": {str(n): count for n, count in sizes.items()},
            "charges": True, "coordinate_scale": 1.0, "jacobian": jacobian,
            "network": settings(field), "dequantizer": settings(own),
        }
    )  # fmt: skip
    missing = [name for name in ("x_log_s", "h_t", "h_log_s") if f"transformations.0.{name}" not in flow]
    if missing:
        raise CheckpointError(
            f"the published flow has no {', '.join(missing)}; models without actnorm are not known."
        )
    scales = {name: flow[f"transformations.0.{name}"].reshape(-1) for name in ("x_log_s", "h_t", "h_log_s")}
    model.load_state_dict(
        {
            "actnorm.x_log_s": scales["x_log_s"][0],
            "actnorm.h_t": scales["h_t"],
            "actnorm.h_log_s": scales["h_log_s"],
            **{f"field.network.{name}": value for name, value in layered_weights(flow, FIELD).items()},
            **{
                f"dequantizer.network.{name}": value
                for name, value in layered_weights(dequantizer, DEQUANTIZER).items()
            },
        }
    )
    return model.eval().requires_grad_(False)
