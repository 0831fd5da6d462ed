"""Autoguidance (Karras et al., arXiv 2406.02507): step away from the errors of a weaker model.

D(z) = D_1(z) + w (D_1(z) - D_0(z)). What a smaller network of the same data gets wrong, the larger one gets wrong
in the same direction, only less; going on along the difference undoes part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.core.errors import ConfigError
from models.edm.denoiser import Denoised, Denoiser
from models.edm.features import AtomFeatures
from models.edm.process import Process
from models.egnn.pairs import Pairs

MOST_GUIDANCE = 4.0


class GuidedDenoiser:
    """`strong` guided away from `weak`, with the weight w = `guidance`; each call is one call of both.

    Element logits are extrapolated where both have them, so that the answer is a distribution over elements again.
    Raises ConfigError when the two do not share their features or the weight is out of range.
    """

    def __init__(self, strong: Denoiser, weak: Denoiser, guidance: float) -> None:
        if strong.features != weak.features:
            raise ConfigError("a guide needs the features (elements and scales) of the model that it guides.")
        if not 0 <= guidance <= MOST_GUIDANCE:
            raise ConfigError(f"guidance is {guidance}, but must lie in 0..{MOST_GUIDANCE:g}.")
        self.strong, self.weak, self.guidance = strong, weak, guidance

    @property
    def features(self) -> AtomFeatures:
        return self.strong.features

    @property
    def process(self) -> Process:
        return self.strong.process

    @property
    def device(self) -> torch.device:
        return self.strong.device

    @property
    def dtype(self) -> torch.dtype:
        return self.strong.dtype

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        strong, weak, w = self.strong(x, h, level, pairs), self.weak(x, h, level, pairs), self.guidance
        moved = strong.x + w * (strong.x - weak.x)
        if strong.logits is None or weak.logits is None:
            return Denoised(moved, strong.h + w * (strong.h - weak.h), None)
        logits = strong.logits + w * (strong.logits - weak.logits)
        return Denoised(moved, logits.softmax(-1) * self.features.type_scale, logits)
