"""Denoisers that have been told more than the noisy molecule: its conditions, and their own estimate before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.edm.denoiser import DataDenoiser, Denoised, Denoiser, NoiseDenoiser
from models.edm.features import AtomFeatures
from models.edm.guidance import GuidedDenoiser
from models.edm.process import Process
from models.egnn.pairs import Pairs


class ToldDenoiser:
    """A conditional denoiser that has been told the scaled context `[b, conditions]` of its b molecules."""

    def __init__(self, denoiser: DataDenoiser | NoiseDenoiser, context: Tensor | None) -> None:
        self.denoiser, self.context = denoiser, context

    @property
    def features(self) -> AtomFeatures:
        return self.denoiser.features

    @property
    def process(self) -> Process:
        return self.denoiser.process

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def dtype(self) -> torch.dtype:
        return self.denoiser.dtype

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        return self.denoiser(x, h, level, pairs, context=self.context)  # type: ignore[no-any-return]


class RememberingDenoiser(ToldDenoiser):
    """A self-conditioned denoiser that sees its last estimate of its b molecules, those of one sampling run."""

    previous: Denoised | None = None

    def __call__(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        self.previous = self.denoiser(x, h, level, pairs, context=self.context, previous=self.previous)
        return self.previous


def told(
    denoiser: Denoiser, context: Tensor | None, rows: Sequence[int], *, remembers: bool = False
) -> Denoiser:
    """The denoiser for some rows of a scaled context; itself where there is none. With `remembers` a self-conditioned
    one sees what it said before.
    """
    if isinstance(denoiser, GuidedDenoiser):
        strong = told(denoiser.strong, context, rows, remembers=remembers)
        return GuidedDenoiser(strong, denoiser.weak, denoiser.guidance)
    if not isinstance(denoiser, (DataDenoiser, NoiseDenoiser)):
        return denoiser
    part = None if context is None else context[list(rows)].to(denoiser.device, denoiser.dtype)
    if remembers and isinstance(denoiser, DataDenoiser) and denoiser.self_conditioned:
        return RememberingDenoiser(denoiser, part)
    return denoiser if part is None else ToldDenoiser(denoiser, part)
