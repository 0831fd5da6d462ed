"""The layers of the flow: a denoising coupling, a split prior, and the factorised prior that closes it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ddf.permutation import from_ranks, to_ranks

Kind = Literal["coupling", "split"]


class Classifier(nn.Module):
    """log p(x2 | x1): a perceptron from one-hot classes to the logits of every other dimension."""

    def __init__(self, given: int, asked: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.asked, self.classes = asked, classes
        # Two classes need one number each; more are told apart by one-hot vectors.
        inputs = given if classes == 2 else given * classes
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(sizes[-1], asked * classes)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x1: Tensor) -> Tensor:
        """Classes `[b, given]` to logits `[b, asked, K]`."""
        dtype = self.last.weight.dtype
        if self.classes == 2:
            h = 2 * x1.to(dtype) - 1
        else:
            h = F.one_hot(x1.long(), self.classes).to(dtype).flatten(1)
        for layer in self.hidden:
            h = F.silu(layer(h))
        return self.last(h).view(-1, self.asked, self.classes)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Divides the dimensions into x1 (given) and x2 (asked); the division is a buffer, so weights keep it."""

    order: Tensor

    def __init__(self, dimensions: int, classes: int, asked: int, width: int, depth: int) -> None:
        super().__init__()
        self.given = dimensions - asked
        self.register_buffer("order", torch.arange(dimensions))
        self.network = Classifier(self.given, asked, classes, width, depth)

    def divide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x1 `[b, given]` and x2 `[b, asked]`."""
        ordered = x[:, self.order]
        return ordered[:, : self.given], ordered[:, self.given :]

    def join(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The inverse of `divide`."""
        return torch.cat([x1, x2], 1)[:, self.order.argsort()]

    def cross_entropy(self, x: Tensor) -> Tensor:
        """-log p(x2 | x1) in nats `[b]`: the loss that the layer is trained by, alone."""
        x1, x2 = self.divide(x)
        logits = self.network(x1)
        return (
            F.cross_entropy(logits.flatten(0, 1).float(), x2.flatten().long(), reduction="none")
            .view(len(x), -1)
            .sum(1)
        )


class Coupling(Layer):
    """x2 becomes its ranks under the network's prediction from x1: a bijection, so no Jacobian."""

    def forward(self, x: Tensor) -> Tensor:
        """Classes `[b, d]` to classes `[b, d]` that concentrate on small numbers."""
        x1, x2 = self.divide(x)
        return self.join(x1, to_ranks(x2, self.network(x1)))

    def inverse(self, z: Tensor) -> Tensor:
        """Back from `forward`."""
        x1, z2 = self.divide(z)
        return self.join(x1, from_ranks(z2, self.network(x1)))


class Split(Layer):
    """x2 leaves the flow under the prior that the network gives it from x1."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What stays, `[b, given]`, and log p(x2 | x1) `[b]`."""
        x1, x2 = self.divide(x)
        logs = self.network(x1).double().log_softmax(-1)
        return x1, logs.gather(-1, x2.long()[..., None])[..., 0].sum(1)

    def inverse(self, x1: Tensor, uniform: Tensor) -> Tensor:
        """Put back an x2 drawn with uniform numbers `[b, asked]`."""
        return self.join(x1, draw(self.network(x1).double().softmax(-1), uniform))


class FactorisedPrior(nn.Module):
    """Independent categorical dimensions; its maximum-likelihood fit is counting."""

    logs: Tensor

    def __init__(self, dimensions: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("logs", torch.full((dimensions, classes), -math.log(classes)))

    def fit(self, z: Tensor, pseudo: float = 0.5) -> None:
        """Count the classes of `z` `[n, d]`, with `pseudo` observations of each beforehand."""
        classes = self.logs.shape[1]
        counts = torch.stack([(z == k).sum(0) for k in range(classes)], 1).double() + pseudo
        self.logs = (counts / counts.sum(1, keepdim=True)).log().to(self.logs.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) `[b]`, normalised in float64."""
        logs = self.logs.double().log_softmax(-1)
        return logs.expand(len(z), -1, -1).gather(-1, z.long()[..., None])[..., 0].sum(1)

    def sample(self, uniform: Tensor) -> Tensor:
        """Classes from uniform numbers `[b, d]`."""
        return draw(self.logs.double().softmax(-1).expand(len(uniform), -1, -1), uniform)


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Classes `[...]` by the inverse of the cumulative sum of `[..., K]`."""
    below = probabilities.cumsum(-1)[..., :-1] < uniform[..., None].to(probabilities.dtype)
    return below.sum(-1)
