"""The backbone of all string models: a small Transformer that knows the length and may look both ways.

What a network of a million weights learns slowly is given to it: the neighbors of every place, and how many of
each token lie left and right of it (odd or even too, because rings open and close with the same digit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class TransformerConfig:
    """inputs: size of the one-hot input; outputs: numbers per place. longest: most tokens.

    neighbors: how far the input layer looks to either side. counts: give tokens left and right (for inputs that
    are one-hot). plain: how many of the inputs, the last ones, are numbers that are not counted. times: how many
    extra numbers in 0..1 condition the network. causal: a place sees no later one. ends: a causal network, too,
    knows how far the end is.
    """

    inputs: int
    outputs: int
    longest: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    neighbors: int = 3
    counts: bool = True
    plain: int = 0
    times: int = 0
    causal: bool = False
    ends: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} must be a multiple of heads {self.heads}.")
        if min(self.inputs, self.outputs, self.longest, self.layers, self.hidden) < 1:
            raise ConfigError("inputs, outputs, longest, layers and hidden must be at least 1.")

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From a card or recipe. Raises ConfigError for unknown names."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"a Transformer has no {', '.join(unknown)}; known are {', '.join(sorted(known))}."
            )
        return cls(**values)


class Memory:
    """What a causal network keeps of the places that it has seen, so that it need not see them again.

    Of a batch that gets smaller, the first strings go on.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._parts: dict[object, tuple[Tensor, ...]] = {}

    def extend(self, block: object, *parts: Tensor) -> tuple[Tensor, ...]:
        """What a block keeps, each part `[b, heads, places, ...]`: its new places behind those before."""
        if block in self._parts:
            pairs = zip(self._parts[block], parts, strict=True)
            parts = tuple(torch.cat([before[: len(new)], new], 2) for before, new in pairs)
        self._parts[block] = parts
        return parts


class TransformerBlock(nn.Module):
    """Attention with a learned weight per head and distance, then a hidden layer, each added to its input."""

    hidden_matrices: ClassVar[bool] = True  # Muon takes them

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.causal, self.longest = config.heads, config.causal, config.longest
        self.attend = nn.Linear(config.width, 3 * config.width, bias=False)
        self.mix = nn.Linear(config.width, config.width, bias=False)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width, bias=False)
        self.distance = nn.Embedding(2 * config.longest - 1, config.heads)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.distance.weight)

    def bias(self, n: int) -> Tensor:
        """What is added to the attention scores, `[heads, n, n]`; minus infinity where a place may not look."""
        places = torch.arange(n, device=self.distance.weight.device)
        offsets = places - places[:, None]
        bias: Tensor = self.distance(offsets + self.longest - 1).permute(2, 0, 1)
        return bias.masked_fill(offsets > 0, -math.inf) if self.causal else bias

    def forward(self, h: Tensor, memory: Memory | None = None) -> Tensor:
        b, n, width = h.shape
        qkv = self.attend(F.rms_norm(h, (width,))).view(b, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if memory is not None:
            k, v = memory.extend(self, k, v)
        bias = self.bias(k.shape[2])[:, -n:]
        scores = wide(q @ k.transpose(-1, -2)) * (width // self.heads) ** -0.5 + wide(bias)
        seen = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, n, width)
        h = h + self.mix(seen)
        out: Tensor = h + self.down(F.relu(self.up(F.rms_norm(h, (width,)))))
        return out


class Transformer(nn.Module):
    """Strings of one length to `outputs` numbers per place."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        span = config.neighbors + 1 if config.causal else 2 * config.neighbors + 1
        features = config.inputs * span
        if config.counts:
            features += (config.inputs - config.plain) * (2 if config.causal else 4)
        self.enter = nn.Linear(features, config.width)
        self.from_left = nn.Embedding(config.longest, config.width)
        self.from_right = nn.Embedding(config.longest, config.width)
        for table in (self.from_left, self.from_right):
            nn.init.normal_(table.weight, std=0.1)
        self.time = nn.Linear(16 * config.times, config.width) if config.times else None
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.layers))
        self.leave = nn.Linear(config.width, config.outputs)

    def features(self, x: Tensor) -> Tensor:
        """One-hot or soft tokens `[b, n, inputs]` to what the first layer sees, `[b, n, features]`."""
        reach, n = self.config.neighbors, x.shape[1]
        padded = F.pad(x, (0, 0, reach, 0 if self.config.causal else reach))
        parts = [padded[:, k : k + n] for k in range(padded.shape[1] - n + 1)]
        if self.config.counts:
            x = x[..., : self.config.inputs - self.config.plain]
            left = x.cumsum(1) if self.config.causal else x.cumsum(1) - x
            sides = [left] if self.config.causal else [left, x.sum(1, keepdim=True) - left - x]
            for side in sides:
                parts += [0.25 * side, 1 - 2 * (side % 2)]
        return torch.cat(parts, -1)

    def forward(
        self,
        tokens: Tensor,
        times: Tensor | None = None,
        *,
        whole: int | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Tokens `[b, n]` as ids, or `[b, n, inputs]` as weights, and times `[b, config.times]` in 0..1 to
        `[b, n, outputs]` in float32 or, for weights of 64 bits, float64. `whole`: how long the string is of which a
        causal network is given the beginning. `memory`: of the places that it was shown before, which then are not
        computed again; the answer is about the new ones. Raises ShapeError for strings that are too long or missing
        times, ConfigError for a memory of a network that is not causal.
        """
        x = tokens if tokens.is_floating_point() else one_hot(tokens, self.config.inputs)
        n = x.shape[1]
        whole = n if whole is None else whole
        if not 1 <= n <= whole <= self.config.longest:
            raise ShapeError("tokens", tokens.shape, f"1 to {self.config.longest} tokens")
        if memory is not None and not self.config.causal:
            raise ConfigError("only a causal network has a memory: any other sees every place at once.")
        first = 0 if memory is None else memory.seen
        places = torch.arange(first, n, device=x.device)
        features = self.features(x.to(self.enter.weight.dtype))[:, first:]
        h = wide(self.enter(features)) + self.from_left(places)
        if (
            self.config.ends or not self.config.causal
        ):  # by default a left-to-right model does not know the end
            h = h + self.from_right(whole - 1 - places)
        if self.time is not None:
            if times is None or times.shape != (len(x), self.config.times):
                raise ShapeError("times", () if times is None else times.shape, f"[b, {self.config.times}]")
            h = h + self.time(waves(times))[:, None]
        for block in self.blocks:
            h = block(h, memory)
        if memory is not None:
            memory.seen = n
        return wide(self.leave(F.rms_norm(h, (h.shape[-1],))))


def wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def one_hot(tokens: Tensor, size: int) -> Tensor:
    """Ids `[b, n]` to float32 `[b, n, size]`."""
    return F.one_hot(tokens, size).float()


def waves(times: Tensor) -> Tensor:
    """Times `[b, k]` in 0..1 as sines and cosines of eight frequencies, `[b, 16 k]`."""
    angles = times[..., None] * (math.pi * 2.0 ** torch.arange(8, device=times.device))
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
