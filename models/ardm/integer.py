"""An ARDM's network in integers, so that sender and receiver of a library see the same probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.ardm.model import ARDM
from models.core.errors import ConfigError
from models.core.integer import EXACT, FINE, IntegerLinear, exponentials, frequencies, rounded
from models.strings.transformer import Memory, TransformerBlock, one_hot


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

    def __call__(self, h: Tensor, memory: Memory | None = None) -> Tensor:
        b, n, width = h.shape
        size = width // self.heads
        qkv = self.attend(*normalized(h)).view(b, n, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        q, q_scale = rounded(qkv[0], (-1,))
        seen = (*rounded(qkv[1], (-1,)), *rounded(qkv[2], (-1,)))
        k, k_scale, v, v_scale = seen if memory is None else memory.extend(self, *seen)
        scores = (q @ k.transpose(-1, -2)) * (q_scale * (1 / math.sqrt(size))) * k_scale.transpose(-1, -2)
        scores = scores + self.block.bias(k.shape[2])[:, -n:].float()
        steps = ((scores.amax(-1, keepdim=True) - scores) * 64).round().clamp(max=len(self.table) - 1)
        weights = self.table[steps.long()]
        # Every value has a scale of its own; weights take it on, measured by the largest that a place may see.
        scales = v_scale.transpose(-1, -2).masked_fill(scores == -math.inf, 0.0)
        largest = scales.amax(-1, keepdim=True)
        mixed = ((weights * (scales / largest)).round() @ v) / weights.sum(-1, keepdim=True) * largest
        h = h + self.mix(*rounded(mixed.transpose(1, 2).reshape(b, n, width), (-1,)))
        inner = self.up(*normalized(h)).clamp(min=0)
        return h + self.down(*rounded(inner, (-1,)))


class IntegerTwin:
    """An ARDM's network in integers, on the CPU. Raises ConfigError for a model with a hierarchy, and for a network
    that is too wide for exact sums.
    """

    def __init__(self, model: ARDM) -> None:
        network = model.network
        if network.config.times:
            raise ConfigError("only a network without times has an integer twin.")
        if model.hierarchy.stages > 1:
            raise ConfigError("a model with a hierarchy has no integer twin, so it cannot compress.")
        self.model, self.network = model, network
        self.enter = IntegerLinear(network.enter)
        self.blocks = [IntegerBlock(block, model.longest) for block in network.blocks]  # type: ignore[arg-type]
        self.leave = IntegerLinear(network.leave)

    @torch.inference_mode()
    def frequencies(
        self, tokens: Tensor, *, whole: Tensor | None = None, memory: Memory | None = None
    ) -> Tensor:
        """Tokens `[b, n]`, hidden ones as `model.mask`, to integers `[b, n, K]` (float64, each at least 1) whose
        shares are the probabilities of every place. `whole` `[b]` and `memory` are for a causal network, as in
        `Transformer.forward`: how long the strings are that begin so, and what was seen before.
        """
        network, n = self.network, tokens.shape[1]
        first = 0 if memory is None else memory.seen
        with torch.autocast("cpu", enabled=False):
            features = 4 * network.features(one_hot(tokens, network.config.inputs))[:, first:]  # integers
            places = torch.arange(first, n)
            h = self.enter(features, torch.tensor(0.25)) + network.from_left(places)
            if network.config.ends or not network.config.causal:
                ends = torch.full((1,), n) if whole is None else whole
                h = h + network.from_right(ends[:, None] - 1 - places)
            for block in self.blocks:
                h = block(h, memory)
            if memory is not None:
                memory.seen = n
            return frequencies((self.leave(*normalized(h)) * FINE).round())
