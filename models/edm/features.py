"""How a molecule becomes numbers that a diffusion can add noise to, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from models.core.errors import ConfigError


@dataclass(frozen=True)
class AtomFeatures:
    """Scaled positions and scaled one-hot elements, with the atomic number as a further channel if published so.

    elements: atomic numbers in channel order. coordinate_scale: Angstrom per unit. type_scale: height of the
    one-hot (0.25 published). charge_scale: factor on the atomic number (0.1 published), None for no channel.
    last_element: whether the last element is ever decoded; the published code cuts it off where there is no charge
    channel, so its models never make it.
    """

    elements: tuple[int, ...]
    coordinate_scale: float = 1.7
    type_scale: float = 0.25
    charge_scale: float | None = None
    last_element: bool = True

    def __post_init__(self) -> None:
        if not self.elements or len(set(self.elements)) != len(self.elements):
            raise ConfigError(f"elements must be distinct and not empty, but are {self.elements}.")
        if self.coordinate_scale <= 0 or self.type_scale <= 0:
            raise ConfigError("coordinate_scale and type_scale must be positive.")
        if not self.last_element and (self.charge_scale is not None or len(self.elements) < 2):
            raise ConfigError(
                "the last element is cut off only without a charge channel, and never the only one."
            )

    @property
    def channels(self) -> int:
        """Feature channels of an atom."""
        return len(self.elements) + (self.charge_scale is not None)

    def types(self, numbers: Tensor) -> Tensor:
        """Channel index of each atomic number; the caller has checked that all are known."""
        return _channels(self.elements, numbers.device)[numbers.long()]

    def encode(self, numbers: Tensor) -> Tensor:
        """Atomic numbers `[..., n]` to features `[..., n, channels]`."""
        h = F.one_hot(self.types(numbers), len(self.elements)).to(torch.float32) * self.type_scale
        if self.charge_scale is None:
            return h
        return torch.cat([h, numbers[..., None].to(h.dtype) * self.charge_scale], -1)

    def decode(self, h: Tensor) -> Tensor:
        """Features `[..., n, channels]` to atomic numbers `[..., n]` by the largest one-hot channel."""
        count = len(self.elements) - (not self.last_element)
        elements = torch.tensor(self.elements, device=h.device)
        return elements[h[..., :count].argmax(-1)]


@lru_cache(maxsize=16)  # made once: a GPU would have to wait for it at every call
def _channels(elements: tuple[int, ...], device: torch.device) -> Tensor:
    """The channel of every atomic number up to the largest known, -1 where there is none."""
    table = torch.full((max(elements) + 1,), -1, dtype=torch.long)
    table[list(elements)] = torch.arange(len(elements))
    return table.to(device)
