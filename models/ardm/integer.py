"""An ARDM's network in integers, so that sender and receiver of a library see the same probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.ardm.model import ARDM
from models.core.errors import ConfigError
from models.core.integer import EXACT, FINE, IntegerLinear, exponentials, frequencies, rounded
from models.strings.transformer import TransformerBlock, one_hot


def normalized(h: Tensor) -> tuple[Tensor, Tensor]:
    """RMS norm of the last axis as integers and their scale; the sum of squares is one of integers."""
    fine, unit = rounded(h, (-1,), 4095)
    mean = fine.double().square().sum(-1, keepdim=True) / h.shape[-1]
    rms = unit.double() * mean.sqrt()
    integers, scale = rounded(h, (-1,))
    return integers, (scale.double() / rms.clamp(min=1e-20)).float()


class IntegerBlock:
    """A block of the Transformer."""

    def __init__(self, block: TransformerBlock, longest: int) -> None:
        self.block, self.heads = block, block.heads
        self.attend, self.mix = IntegerLinear(block.attend), IntegerLinear(block.mix)
        self.up, self.down = IntegerLinear(block.up), IntegerLinear(block.down)
        self.table = exponentials((EXACT - 1) // (127 * longest), 64, 1024).float()

    def __call__(self, h: Tensor) -> Tensor:
        b, n, width = h.shape
        size = width // self.heads
        qkv = self.attend(*normalized(h)).view(b, n, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        (q, q_scale), (k, k_scale) = rounded(qkv[0], (-1,)), rounded(qkv[1], (-1,))
        v, v_scale = rounded(qkv[2], (-2, -1))
        scores = (q @ k.transpose(-1, -2)) * (q_scale * (1 / math.sqrt(size))) * k_scale.transpose(-1, -2)
        scores = scores + self.block.bias(n).float()
        steps = ((scores.amax(-1, keepdim=True) - scores) * 64).round().clamp(max=len(self.table) - 1)
        weights = self.table[steps.long()]
        seen = (weights @ v) / weights.sum(-1, keepdim=True) * v_scale
        h = h + self.mix(*rounded(seen.transpose(1, 2).reshape(b, n, width), (-1,)))
        inner = self.up(*normalized(h)).clamp(min=0)
        return h + self.down(*rounded(inner, (-1,)))


class IntegerTwin:
    """An ARDM's network in integers, on the CPU. Raises ConfigError for a model with a hierarchy, and for a network
    that is too wide for exact sums.
    """

    def __init__(self, model: ARDM) -> None:
        network = model.network
        if network.config.times or network.config.causal:
            raise ConfigError("only a network without times and without a causal mask has an integer twin.")
        if model.hierarchy.stages > 1:
            raise ConfigError("a model with a hierarchy has no integer twin, so it cannot compress.")
        self.model, self.network = model, network
        self.enter = IntegerLinear(network.enter)
        self.blocks = [IntegerBlock(block, model.longest) for block in network.blocks]  # type: ignore[arg-type]
        self.leave = IntegerLinear(network.leave)

    @torch.inference_mode()
    def frequencies(self, tokens: Tensor) -> Tensor:
        """Tokens `[b, n]`, hidden ones as `model.mask`, to integers `[b, n, K]` (float64, each at least 1) whose
        shares are the probabilities of every place.
        """
        network, n = self.network, tokens.shape[1]
        with torch.autocast("cpu", enabled=False):
            features = 4 * network.features(one_hot(tokens, network.config.inputs))  # integers
            places = torch.arange(n)
            h = self.enter(features, torch.tensor(0.25))
            h = h + network.from_left(places) + network.from_right(n - 1 - places)
            for block in self.blocks:
                h = block(h)
            return frequencies((self.leave(*normalized(h)) * FINE).round())
