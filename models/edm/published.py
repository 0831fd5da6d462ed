"""Published EDM checkpoints as models of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
) -> EDM:
    """An EDM from the state dict of the published code: network, gamma table, scales 1, 1/4 and 1/10.

    elements: atomic numbers in the order of its one-hot channels. sizes: histogram of its training molecules.
    Raises CheckpointError when the weights are not those of an unconditional EDM of these elements.
    """
    network = published_config(published)
    channels = len(elements) + include_charges + 1  # and the time
    if network.inputs != channels:
        raise CheckpointError(
            f"the published network has {network.inputs} input channels, but {len(elements)} elements"
            f"{' with charges' if include_charges else ''} and the time make {channels}."
        )
    if "gamma.gamma" not in published:
        raise CheckpointError("the published checkpoint has no noise table gamma.gamma.")
    settings = network.to_dict()
    model = EDM(
        {
            "elements": list(elements),
            "sizes": {str(n): count for n, count in sizes.items()},
            "coordinate_scale": 1.0,
            "type_scale": 0.25,
            "charge_scale": 0.1 if include_charges else None,
            "parametrization": "noise",
            "process": {"kind": "table", "gamma": published["gamma.gamma"].tolist()},
            "network": {name: settings[name] for name in settings if name not in ("inputs", "outputs")},
        }
    )
    model.denoiser.network.load_state_dict(network_weights(published))
    return model.eval()
