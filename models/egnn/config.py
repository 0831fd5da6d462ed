"""What an EGNN is made of; each published variant is one setting of these fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from models.core.errors import ConfigError


@dataclass(frozen=True)
class EGNNConfig:
    """Sizes and choices of an EGNN.

    inputs, outputs: node feature channels in and out. width: hidden node features. message_width: channels of a
    message. layers: blocks. sublayers: message-passing steps between two coordinate updates. attention: a
    sigmoid gate on each message. coordinates_from: what the displacement is computed from, the updated node
    features through a pair network of their own (EDM) or the gated messages (E-NF, lean). coordinate_hidden:
    hidden layers of that displacement network. coordinate_range: R in tanh(c) * R, or None for no bound.
    distance_offset: c in (x_i - x_j) / (d_ij + c). divisor: sums over neighbors are divided by it. normalize:
    LayerNorm of the node features before each block. symmetric: the message of (i, j) is that of (j, i), which
    halves the pairs of a dense bucket. radial: Gaussians that describe a distance, on
    0..radial_cutoff; 0 means the squared distance alone, as published. input_distance: every block also sees the
    distances of the network's input. moves: whether positions are updated; where they are not (property
    prediction) there is but one distance. velocity: a velocity given with the positions is added to every
    displacement, times a factor read from the node. edge_inputs: channels of features given for each pair.
    """

    inputs: int
    outputs: int
    width: int = 192
    message_width: int = 64
    layers: int = 8
    sublayers: int = 1
    attention: bool = True
    coordinates_from: Literal["features", "messages"] = "messages"
    coordinate_hidden: int = 0
    coordinate_range: float | None = None
    distance_offset: float = 1.0
    divisor: float = 10.0
    normalize: bool = True
    symmetric: bool = True
    radial: int = 16
    radial_cutoff: float = 6.0
    input_distance: bool = True
    moves: bool = True
    velocity: bool = False
    edge_inputs: int = 0

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "width", "message_width", "layers", "sublayers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"EGNN: {name} is {getattr(self, name)}, but it must be at least 1.")
        if self.coordinates_from not in ("features", "messages"):
            raise ConfigError(
                f"EGNN: coordinates_from is {self.coordinates_from!r}; choose 'features' or 'messages'."
            )
        if self.radial < 0 or (self.radial and self.radial_cutoff <= 0):
            raise ConfigError(
                f"EGNN: radial is {self.radial} with radial_cutoff {self.radial_cutoff}; give a count of at least 0 "
                "and a positive cutoff."
            )
        if self.divisor <= 0 or self.distance_offset < 0:
            raise ConfigError("EGNN: divisor must be positive and distance_offset not negative.")
        if self.edge_inputs < 0:
            raise ConfigError(f"EGNN: edge_inputs is {self.edge_inputs}, but it cannot be negative.")
        if self.velocity and not self.moves:
            raise ConfigError("EGNN: a velocity moves the positions; set moves, or leave velocity out.")

    @classmethod
    def published_edm(cls, channels: int, width: int = 256, layers: int = 9) -> Self:
        """The network of the published EDM models (arXiv 2203.17003, appendix C, and their code)."""
        return cls(
            inputs=channels, outputs=channels, width=width, message_width=width, layers=layers,
            coordinates_from="features", coordinate_hidden=1, coordinate_range=15.0, divisor=1.0,
            normalize=False, symmetric=False, radial=0,
        )  # fmt: skip

    @classmethod
    def published_enf(
        cls, inputs: int, outputs: int, width: int = 64, layers: int = 6, *,
        attention: bool = True, bounded: bool = True, input_distance: bool = True,
    ) -> Self:  # fmt: skip
        """The networks of the published E-NF (arXiv 2105.09016, appendix, and their code): displacements from the
        gated messages, bounded by 15 / layers; the dequantizer's has no gate, no bound and no input distances.
        """
        return cls(
            inputs=inputs, outputs=outputs, width=width, message_width=width, layers=layers, attention=attention,
            coordinates_from="messages", coordinate_hidden=1,
            coordinate_range=15.0 / layers if bounded else None, divisor=1.0,
            normalize=False, symmetric=False, radial=0, input_distance=input_distance,
        )  # fmt: skip

    @classmethod
    def published_property(cls, inputs: int, width: int = 128, layers: int = 7) -> Self:
        """The network of the published property models (arXiv 2102.09844, section 5.3, and their code)."""
        return cls(
            inputs=inputs, outputs=width, width=width, message_width=width, layers=layers, divisor=1.0,
            normalize=False, symmetric=False, radial=0, moves=False,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From a card or recipe; unknown keys are errors."""
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"EGNN: unknown settings {unknown}; known are {sorted(cls.__dataclass_fields__)}."
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return asdict(self)
