"""The bent, triangular maps f(u) of generalized Sylvester flows, on vectors, on images and on graphs.

Each gives f(u) and the diagonal of its Jacobian: f = s2 tanh(s1 u + t1) + t2 with s1, t1, s2, t2 from a network that
sees only what comes before. The diagonal is s1 s2 / cosh^2, and |s1 s2| <= STEEPEST.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import zuko.nn
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ShapeError

STEEPEST = 0.5
"""|df_i/du_i| stays below: the layer is invertible, and fixed-point sweeps converge along the diagonal."""


def bent(u: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """f and the diagonal of its Jacobian, both of the shape of u, from s1, t1, s2, t2 of that shape."""
    s1, t1, s2, t2 = parameters
    s1, s2 = s1.tanh(), STEEPEST * s2.tanh()
    inner = (s1 * u + t1).tanh()
    return s2 * inner + t2, s1 * s2 * (1 - inner.square())


class DenseAutoregressive(nn.Module):
    """On vectors `[b, n]`: entry i sees the entries before it."""

    def __init__(self, size: int, hidden: int = 32) -> None:
        super().__init__()
        earlier = torch.ones(size, size, dtype=torch.bool).tril(-1)
        self.network = zuko.nn.MaskedMLP(earlier.repeat(4, 1), hidden_features=[hidden], activation=nn.SiLU)
        self.size = size

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return bent(u, self.network(u).reshape(len(u), 4, self.size).unbind(1))


class ConvolutionalAutoregressive(nn.Module):
    """On `[b, c, n]` or `[b, c, h, w]`: channel j of a place sees all channels of the places before it (row by row)
    that its two kernels reach, and channels before j of its own place.
    """

    def __init__(self, channels: int, kernel: Sequence[int], hidden: int = 16) -> None:
        super().__init__()
        if len(kernel) not in (1, 2) or any(k % 2 == 0 for k in kernel):
            raise ShapeError("kernel", tuple(kernel), "one or two odd numbers")
        inputs, middle = torch.arange(channels), torch.arange(hidden) % channels
        outputs = inputs.repeat(4)
        self.channels = channels
        for name, given, made, strict in (
            ("first", inputs, middle, True), ("last", middle, outputs, False),
        ):  # fmt: skip
            self.register_buffer(f"{name}_mask", causal_mask(given, made, kernel, strict=strict))
            self.register_parameter(
                f"{name}_weight", nn.Parameter(torch.zeros(len(made), len(given), *kernel))
            )
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(len(made))))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        found = self._convolve("last", F.silu(self._convolve("first", u)))
        return bent(u, found.chunk(4, 1))

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        weight = getattr(self, f"{name}_weight") * getattr(self, f"{name}_mask")
        convolution = F.conv1d if weight.dim() == 3 else F.conv2d
        return convolution(x, weight, getattr(self, f"{name}_bias"), padding="same")


def causal_mask(given: Tensor, made: Tensor, kernel: Sequence[int], *, strict: bool) -> Tensor:
    """1 where made channels may look, `[made, given, *kernel]`: at places before, and at the middle at channels of a
    lower degree (or the same, unless `strict`).
    """
    places = torch.ones(*kernel).flatten()
    middle = len(places) // 2
    mask = (torch.arange(len(places)) < middle).double().expand(len(made), len(given), -1).clone()
    lower = given[None] < made[:, None] if strict else given[None] <= made[:, None]
    mask[:, :, middle] = lower.double()
    return mask.reshape(len(made), len(given), *kernel)


class GraphAutoregressive(nn.Module):
    """On one graph's node features `[b, n, c]`: channel j of a node sees channels before j of itself and of nodes
    within two steps, so relabeled nodes give relabeled values; the first channel is bent by itself alone.
    """

    adjacency: Tensor

    def __init__(self, channels: int, adjacency: Tensor, hidden: int = 16) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        inputs, middle = torch.arange(channels), torch.arange(hidden) % channels
        outputs = inputs.repeat(4)
        self.register_buffer("first_mask", (inputs[:, None] < middle[None]).double())
        self.register_buffer("last_mask", (middle[:, None] <= outputs[None]).double())
        self.first_mask: Tensor
        self.last_mask: Tensor
        self.first = nn.Parameter(torch.zeros(2, channels, hidden))
        self.last = nn.Parameter(torch.zeros(2, hidden, 4 * channels))
        self.first_bias = nn.Parameter(torch.zeros(hidden))
        self.last_bias = nn.Parameter(torch.zeros(4 * channels))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        h = F.silu(self._spread(u, self.first * self.first_mask) + self.first_bias)
        return bent(u, (self._spread(h, self.last * self.last_mask) + self.last_bias).chunk(4, -1))

    def _spread(self, x: Tensor, weights: Tensor) -> Tensor:
        return x @ weights[0] + self.adjacency @ x @ weights[1]
