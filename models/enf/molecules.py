"""The vector field of molecules whose elements are noisy one-hots, with all that is known of it taken out."""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import ConfigError
from models.egnn.config import EGNNConfig
from models.egnn.pairs import Pairs
from models.enf.field import Linear, VectorField


class MoleculeField(VectorField):
    """The field of straight paths x_t = (1-t) x + t e from data to noise, for positions and one-hot elements.

    Positions: as in PreconditionedField. Elements: the features of an atom of element k are a e_k + s e at time 0, so
    those at time t are Gaussian about (1-t) a e_k with the variance V = (1-t)^2 s^2 + t^2, and the velocity is

        sum_k p_k [ (h - (1-t) a e_k) (t - (1-t) s^2) / V - a e_k ],

    where p is the posterior of the element: the likelihood of the atom's own features, known exactly, times a prior
    that the network reads from the rest of the molecule. Only that prior is learned.
    """

    def __init__(
        self, network: EGNNConfig, elements: int, *, scale: float, spread: float,
        position_scale: float, time_pairs: int = 16,
    ) -> None:  # fmt: skip
        super().__init__(network, elements, time_pairs=time_pairs)
        if min(scale, spread, position_scale) <= 0:
            raise ConfigError("a molecule field needs positive type_scale, type_spread and coordinate_scale.")
        self.scale, self.spread, self.position_scale = scale, spread, position_scale

    def posterior(self, t: Tensor, x: Tensor, h: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        """The velocity of the positions `[b, n, 3]` and the logits of the elements `[b, n, c]`."""
        at = t[:, None, None]
        keep = 1 - at
        variance = keep.square() + at.square()
        noise = (keep * self.spread).square() + at.square()
        shrink = torch.rsqrt(variance)
        place = x * (shrink * self.position_scale)
        # One-hots of height a have a standard deviation of about 0.4 a.
        inputs = h * torch.rsqrt((0.4 * self.scale * keep).square() + noise)
        out, moved = self.network(torch.cat([inputs, self.time(t, x.shape[-2])], -1), place, pairs)
        dx = ((2 * at - 1) / variance) * x + shrink * (moved - place) / self.position_scale
        logits = out[..., : self.features] + h * (keep * self.scale / noise)
        return remove_mean(dx), logits

    def forward(self, t: Tensor, x: Tensor, h: Tensor, pairs: Pairs | None = None) -> tuple[Tensor, Tensor]:
        at = t[:, None, None]
        keep = 1 - at
        noise = (keep * self.spread).square() + at.square()
        dx, logits = self.posterior(t, x, h, pairs)
        clean = logits.softmax(-1) * self.scale
        return dx, (h - keep * clean) * ((at - keep * self.spread**2) / noise) - clean

    def linearized(self, t: Tensor, x: Tensor, h: Tensor) -> Linear:
        at = t[:, None, None]
        keep = 1 - at
        variance = keep.square() + at.square()
        noise = (keep * self.spread).square() + at.square()
        shrink = torch.rsqrt(variance)
        known = torch.rsqrt((0.4 * self.scale * keep).square() + noise)
        place = x * (shrink * self.position_scale)
        out, moved, network = self.network_at(t, place, h * known)
        chances = (out + h * (keep * self.scale / noise)).softmax(-1)
        rate = (at - keep * self.spread**2) / noise

        def positions(x: Tensor, moved: Tensor, place: Tensor) -> Tensor:
            return remove_mean(((2 * at - 1) / variance) * x + shrink * (moved - place) / self.position_scale)

        def elements(h: Tensor, clean: Tensor) -> Tensor:
            return (h - keep * clean) * rate - clean

        def push(dx: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
            d_place = dx * (shrink * self.position_scale)
            d_out, d_moved = network(dh * known, d_place)
            d_logits = d_out + dh * (keep * self.scale / noise)
            mean = (chances * d_logits).sum(-1, keepdim=True)
            d_clean = chances * (d_logits - mean) * self.scale
            return positions(dx, d_moved, d_place), elements(dh, d_clean)

        return positions(x, moved, place), elements(h, chances * self.scale), push
