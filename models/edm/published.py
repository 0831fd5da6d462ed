"""Published EDM checkpoints as models of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from models.core.errors import CheckpointError
from models.edm.model import EDM
from models.egnn.published import network_weights, published_config


def from_published(
    published: Mapping[str, Tensor],
    *,
    elements: Sequence[int],
    sizes: Mapping[int, int],
    include_charges: bool = True,
    scales: Sequence[float] = (1.0, 4.0, 10.0),
    conditions: Sequence[Mapping[str, Any]] = (),
    last_element: bool = True,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> EDM:
    """An EDM from the state dict of the published code: network, gamma table and scales.

    elements: atomic numbers in the order of its one-hot channels. sizes: histogram of its training molecules.
    scales: what it divides positions, one-hots and charges by. conditions: see `models.edm.context`; last_element:
    see `AtomFeatures`. overrides: settings of the network that its shapes do not show.
    Raises CheckpointError when the weights are not those of an EDM of these elements and conditions.
    """
    network = published_config(published)
    channels = len(elements) + include_charges + 1 + len(conditions)  # 1: the time
    if network.inputs != channels:
        raise CheckpointError(
            f"the published network has {network.inputs} input channels, but {len(elements)} elements"
            f"{', charges' if include_charges else ''}, the time and {len(conditions)} conditions make {channels}."
        )
    if "gamma.gamma" not in published:
        raise CheckpointError("the published checkpoint has no noise table gamma.gamma.")
    settings = {**network.to_dict(), **overrides}
    model = EDM(
        {
            "elements": list(elements),
            "sizes": {str(n): count for n, count in sizes.items()},
            "coordinate_scale": float(scales[0]),
            "type_scale": 1.0 / scales[1],
            "charge_scale": 1.0 / scales[2] if include_charges else None,
            "last_element": last_element,
            "context": [dict(condition) for condition in conditions],
            "parametrization": "noise",
            "process": {"kind": "table", "gamma": published["gamma.gamma"].tolist()},
            "network": {name: settings[name] for name in settings if name not in ("inputs", "outputs")},
        }
    )
    model.denoiser.network.load_state_dict(network_weights(published))
    return model.eval()
