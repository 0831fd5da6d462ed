"""Lossless codes of fingerprints: the exact flow, with its networks in integers, feeds an entropy coder.

Rounding a network changes how it renames classes, but the flow stays a bijection whatever its networks say, and its
priors stay normalised: the code is exact, and a little longer than the flow in floating point would make it.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.core.coding import CodeError, Decoder, Floats, bits, encode, shares
from models.core.integer import FINE, IntegerLinear, frequencies, rounded
from models.core.library_file import Block, LibraryError
from models.ddf.flow import DiscreteFlow
from models.ddf.layers import Classifier, FactorisedPrior, Layer, Split
from models.ddf.permutation import from_ranks, to_ranks

Bits = NDArray[np.uint8]
GRID, REACH = 64, 16
"""SiLU is tabulated in steps of 1 / GRID up to REACH on either side."""


def silu_table() -> Tensor:
    """x / (1 + exp(-x)) on the grid, float32, by decimal arithmetic."""
    with localcontext() as context:
        context.prec = 40
        x = [Decimal(i) / GRID for i in range(-REACH * GRID, REACH * GRID + 1)]
        return torch.tensor([float(value / (1 + (-value).exp())) for value in x])


class IntegerClassifier:
    """A layer's network: classes `[b, given]` to logits `[b, asked, K]` in whole steps of 1 / FINE."""

    def __init__(self, network: Classifier, silu: Tensor) -> None:
        self.asked, self.classes, self.silu = network.asked, network.classes, silu
        self.hidden = [IntegerLinear(layer) for layer in network.hidden]  # type: ignore[arg-type]
        self.last = IntegerLinear(network.last)

    def __call__(self, x1: Tensor) -> Tensor:
        if self.classes == 2:
            h = 2 * x1.float() - 1
        else:
            h = F.one_hot(x1.long(), self.classes).float().flatten(1)
        scale = torch.tensor(1.0)
        for layer in self.hidden:
            y = layer(h, scale)
            places = (y * GRID).round().clamp(-REACH * GRID, REACH * GRID).long() + REACH * GRID
            h, scale = rounded(torch.where(y > REACH, y, self.silu[places]), (-1,))
        return (self.last(h, scale) * FINE).round().view(-1, self.asked, self.classes)


def counted(prior: FactorisedPrior) -> Tensor:
    """Frequencies `[d, K]` of a factorised prior, by decimal arithmetic."""
    with localcontext() as context:
        context.prec = 40
        rows = [
            [max(1, int((Decimal(value).exp() * 2**20).to_integral_value())) for value in row]
            for row in prior.logs.float().tolist()
        ]
    return torch.tensor(rows, dtype=torch.float64)


class FingerprintCodec:
    """Blocks of vectors of classes to bytes and back."""

    def __init__(self, flow: DiscreteFlow) -> None:
        silu = silu_table()
        self.dimensions, self.prior = flow.dimensions, counted(flow.prior)
        self.layers: list[tuple[Layer, IntegerClassifier]] = [
            (layer, IntegerClassifier(layer.network, silu))
            for layer in flow.layers
            if isinstance(layer, Layer)
        ]

    @torch.inference_mode()
    def encode(self, rows: Bits) -> tuple[Block, list[float]]:
        """One block of vectors `[b, d]`, and the bits that each costs."""
        z, parts = torch.from_numpy(rows).long(), []
        for layer, network in self.layers:
            x1, x2 = layer.divide(z)
            steps = network(x1)
            if isinstance(layer, Split):
                parts.append(_flat(x2, frequencies(steps)))
                z = x1
            else:
                z = layer.join(x1, to_ranks(x2, steps))
        parts.append(_flat(z, self.prior.expand(len(z), -1, -1)))
        cost = np.zeros(len(rows))
        for symbols, found in parts:
            each = len(symbols) // max(len(rows), 1)
            for row in range(len(rows)):
                own = slice(row * each, (row + 1) * each)
                cost[row] += bits(symbols[own], found[own])
        return Block(len(rows), encode(parts[::-1])), cost.tolist()

    @torch.inference_mode()
    def decode(self, block: Block) -> Bits:
        """The vectors `[b, d]` of a block. Raises LibraryError for bytes that are no code."""
        try:
            coder = Decoder(block.code)
        except CodeError as error:
            raise LibraryError(f"the library is damaged: {error}") from error

        def taken(told: Tensor) -> Tensor:
            return torch.from_numpy(coder.take(shares(told.flatten(0, 1)))).view(told.shape[:2])

        z = taken(self.prior.expand(block.molecules, -1, -1))
        for layer, network in reversed(self.layers):
            if isinstance(layer, Split):
                z = layer.join(z, taken(frequencies(network(z))))
            else:
                x1, z2 = layer.divide(z)
                z = layer.join(x1, from_ranks(z2, network(x1)))
        found: Bits = z.numpy().astype(np.uint8)
        return found


def _flat(symbols: Tensor, told: Tensor) -> tuple[NDArray[np.int64], Floats]:
    """Symbols `[b, a]` and frequencies `[b, a, K]` as rows."""
    return symbols.flatten().numpy(), shares(told.flatten(0, 1))
