"""Unordered sets of positive numbers of several kinds, such as a molecule's bond lengths: sorted, then one by one.

The numbers of one kind are exchangeable. `context` tells the kind of each as an integer, `[b, n]`, ascending along
every row; sets of any size n go through the same layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.survae.contract import Layer, Move, Noise, Support


def places(kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Of every member of `[b, n]` ascending kinds: how many of its kind came before it, and how many are left.

    >>> places(torch.tensor([[0, 0, 2]]))
    (tensor([[0, 1, 0]]), tensor([[2, 1, 1]]))
    """
    same = kinds[:, :, None] == kinds[:, None, :]
    before = same.tril(-1).sum(2)
    return before, same.sum(2) - before


class SortWithin(Layer):
    """z = x, ascending within each kind; the inverse shuffles the members of a kind.

    Lengths are real numbers, so ties have no probability and the number of orders is always the factorial: equal
    lengths of a symmetric molecule get the limit of lengths that nearly agree.
    """

    takes: Support = "positive"

    def gives(self, given: Support) -> Support:
        super().gives(given)
        return "chambers"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        kinds = ascending(context)
        return Move(_by_kind(x, kinds), -places(kinds)[0].add(1).to(x.dtype).log().sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        kinds = ascending(context)
        like = z.to(torch.promote_types(z.dtype, torch.float32))
        order = noise.uniform(like, z.shape[1:]).argsort(1)
        order = order.gather(1, kinds.gather(1, order).argsort(dim=1, stable=True))
        return z.gather(1, order)


class Mixture(NamedTuple):
    """Mixtures of logistic distributions; the last axis of each tensor is over the components."""

    log_weight: Tensor
    center: Tensor
    scale: Tensor

    def log_survival(self, x: Tensor) -> Tensor:
        """Logarithm of the probability to lie above x."""
        t = (x[..., None] - self.center) / self.scale
        return (self.log_weight + F.logsigmoid(-t)).logsumexp(-1)

    def log_density(self, x: Tensor) -> Tensor:
        """Logarithm of the density at x."""
        t = (x[..., None] - self.center) / self.scale
        each = F.logsigmoid(t) + F.logsigmoid(-t) - self.scale.log()
        return (self.log_weight + each).logsumexp(-1)

    def above(self, log_survival: Tensor) -> Tensor:
        """x with the given `log_survival`, by bisection to the last digit."""
        # The mixture's quantile lies among those of its components.
        logit = log_survival - torch.log(-torch.expm1(log_survival.clamp(max=-1e-300)))
        ends = self.center - self.scale * logit[..., None]
        low, high = ends.amin(-1), ends.amax(-1)
        while True:
            middle = 0.5 * (low + high)
            if not bool(((middle > low) & (middle < high)).any()):
                return middle
            short = self.log_survival(middle) > log_survival
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)


class Foresight(Protocol):
    """A network that tells of every member its mixture, from the kinds of all and the values of those before it."""

    def __call__(self, x: Tensor, kinds: Tensor) -> Mixture:
        """Mixtures `[b, n]` of members of `x` `[b, n]`."""


class Hazards(Layer):
    """From ascending values within kinds to (0, inf)^n, member by member: z = k log(S(before) / S(x)).

    S is the survival function of the member's mixture, `before` the last value of its kind (0 for the first), k how
    many of its kind are left. So x is distributed as the smallest of k draws above `before`, and z as a standard
    exponential number: no mass leaves the chamber, and mixtures that look at nothing make independent draws.
    """

    takes: Support = "chambers"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def gives(self, given: Support) -> Support:
        super().gives(given)
        return "positive"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        kinds = ascending(context)
        before, left = places(kinds)
        mixture: Mixture = self.network(x, kinds)
        start = mixture.log_survival(_last_of_kind(x, before))
        end = mixture.log_survival(x)
        z = left * (start - end)
        return Move(z, (left.to(x.dtype).log() + mixture.log_density(x) - end).sum(1))

    @torch.no_grad()
    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        kinds = ascending(context)
        before, left = places(kinds)
        x = torch.zeros_like(z)
        for i in range(z.shape[1]):
            found: Mixture = self.network(x, kinds)
            mixture = Mixture(*(part[:, i] for part in found))
            last = _last_of_kind(x, before)[:, i]
            value = mixture.above(mixture.log_survival(last) - z[:, i] / left[:, i])
            x[:, i] = torch.maximum(value, last)
        return x


class StandardExponential(nn.Module):
    """The base density of positive numbers: e^-z each."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density `[b]`."""
        return -z.flatten(1).sum(1)

    def sample(self, like: Tensor, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draws `[b, *shape]`."""
        return -torch.log1p(-noise.uniform(like, shape))


def ascending(context: Tensor | None) -> Tensor:
    """The kinds. Raises ConfigError where there are none, or where a row does not ascend."""
    if context is None or context.dim() != 2 or bool((context.diff(dim=1) < 0).any()):
        raise ConfigError(
            "sets need the kind of every member as context [b, n], ascending along each row; sort by kind first."
        )
    return context


def _by_kind(x: Tensor, kinds: Tensor) -> Tensor:
    order = x.argsort(1)
    order = order.gather(1, kinds.gather(1, order).argsort(dim=1, stable=True))
    return x.gather(1, order)


def _last_of_kind(x: Tensor, before: Tensor) -> Tensor:
    shifted = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
    return torch.where(before > 0, shifted, torch.zeros_like(x))
