"""Layers that lose something on one of their two ways, and say what that costs.

Towards the latent: Abs, Max, Sort, Slice. Their likelihood is exact, their inverse draws what was lost.
Towards the data: Round, Argmax, Augment. Their inverse loses, their likelihood is a bound by what they draw.
"""

from __future__ import annotations

import math

import torch
import zuko
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.core.thresholds import squeezed_below
from models.survae.bijections import EXCHANGEABLE
from models.survae.conditionals import ConditionalNormal, normal_log_prob
from models.survae.contract import Layer, Move, Noise, Support


class Abs(Layer):
    """z = |x|, component by component; the inverse draws signs from p(sign | z), even, or learned one given those
    before it, so that signs may go together.
    """

    def __init__(self, size: int, hidden: int = 0) -> None:
        super().__init__()
        self.size = size
        self.network: nn.Module | None = None
        if hidden:
            earlier = torch.ones(size, size).tril(-1).bool()
            seen = torch.cat([torch.ones(size, size).bool(), earlier], 1)  # all of z, and the signs before
            self.network = zuko.nn.MaskedMLP(seen, (hidden, hidden), activation=nn.SiLU)

    def gives(self, given: Support) -> Support:
        super().gives(given)
        return "positive"

    def logits(self, z: Tensor, signs: Tensor) -> Tensor:
        """Of a positive sign, for every component; component i looks only at signs before i."""
        if self.network is None:
            return torch.zeros_like(z)
        found: Tensor = self.network(torch.cat([z, signs], 1))
        return found

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z, signs = x.abs(), torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        return Move(z, F.logsigmoid(signs * self.logits(z, signs)).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        u = noise.uniform(z, z.shape[1:])
        signs = torch.zeros_like(z)
        for i in range(self.size):
            signs[:, i] = torch.where(u[:, i] < torch.sigmoid(self.logits(z, signs)[:, i]), 1.0, -1.0)
        return z * signs


class Max(Layer):
    """z = max of x; the inverse draws which component it is, and the others below it, half-normally away."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.choice = nn.Parameter(torch.zeros(size))
        self.log_scale = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z, which = x.max(1, keepdim=True)
        # 2 N(z - x_j; 0, scale^2) for every other component: all of its mass lies below the maximum.
        scale = self.log_scale.to(x.dtype)
        others = normal_log_prob((z - x) * torch.exp(-scale)) - scale + math.log(2)
        others = others.masked_fill(F.one_hot(which[:, 0], self.size).bool(), 0.0)
        return Move(z, self.choice.to(x.dtype).log_softmax(0)[which[:, 0]] + others.sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        edges = self.choice.to(z.dtype).softmax(0).cumsum(0)
        drawn = torch.searchsorted(edges, noise.uniform(z, (1,)), right=True).clamp(max=self.size - 1)
        below = z - self.log_scale.to(z.dtype).exp() * noise.normal(z, (self.size,)).abs()
        return torch.where(F.one_hot(drawn[:, 0], self.size).bool(), z, below)


class Sort(Layer):
    """z = x in ascending order; the inverse shuffles. Vectors with ties have fewer orders, and that is counted."""

    def gives(self, given: Support) -> Support:
        if given != "real":
            raise ConfigError(f"Sort takes real values, but is given {given} ones.")
        return "ordered"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = x.sort(1).values
        return Move(z, -log_orders(z))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z.gather(1, noise.uniform(z, z.shape[1:]).argsort(1))


def log_orders(ascending: Tensor) -> Tensor:
    """Logarithm of the number of different orders of `[b, n]` ascending values: n! over the factorials of ties."""
    dtype = torch.promote_types(ascending.dtype, torch.float32)
    n = ascending.shape[1]
    run = torch.ones_like(ascending, dtype=dtype)
    for i in range(1, n):
        run[:, i] = torch.where(ascending[:, i] == ascending[:, i - 1], run[:, i - 1] + 1, run[:, i])
    # The k-th member of a tie contributes a factor k, which multiplies to k!.
    return math.lgamma(n + 1) - run.log().sum(1)


class Slice(Layer):
    """z = the first `kept` components; the inverse draws the others from p(rest | z)."""

    def __init__(self, kept: int, size: int, hidden: int = 32) -> None:
        super().__init__()
        self.kept = kept
        self.rest = ConditionalNormal(kept, size - kept, (hidden,))

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = x[:, : self.kept]
        return Move(z, self.rest.log_prob(x[:, self.kept :], z))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return torch.cat([z, self.rest.sample(z, noise)], 1)


class Augment(Layer):
    """z = x with `more` drawn components beside it; the inverse drops them."""

    exact = False

    def __init__(self, size: int, more: int, hidden: int = 32) -> None:
        super().__init__()
        self.size = size
        self.encoder = ConditionalNormal(size, more, (hidden,))

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        drawn = self.encoder.sample(x, noise)
        return Move(torch.cat([x, drawn], 1), -self.encoder.log_prob(drawn, x))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z[:, : self.size]


class Round(Layer):
    """x = floor(z): whole numbers, spread evenly over their cells; counts over (0, inf), integers over R."""

    exact = False

    def __init__(self, takes: Support = "counts") -> None:
        super().__init__()
        if takes not in ("counts", "integers"):
            raise ConfigError(f"Round makes counts or integers, not {takes} values.")
        self.takes = takes

    def gives(self, given: Support) -> Support:
        super().gives(given)
        return "positive" if self.takes == "counts" else "real"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        # Never quite the edge: (0, inf) has no zero, and floor must find the cell again in 32 bits.
        u = noise.uniform(x, x.shape[1:]).clamp(1e-4, 1 - 1e-4)
        return Move(x + u, x.new_zeros(len(x)))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z.floor()


class Argmax(Layer):
    """x = argmax of z in R^K, for one category `[b, 1]`; q(z | x) is a learned normal whose losers are squeezed
    below the winner by a softplus (Hoogeboom et al., 2021, arXiv 2102.05379, threshold form).
    """

    exact = False
    takes: Support = "categories"

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.mean = nn.Parameter(torch.zeros(classes, classes))
        self.log_scale = nn.Parameter(torch.zeros(classes, classes))

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        winner = x[:, 0].long()
        eps = noise.normal(x, (self.classes,))
        log_scale = self.log_scale.to(x.dtype)[winner]
        u = self.mean.to(x.dtype)[winner] + log_scale.exp() * eps
        top = u.gather(1, winner[:, None])
        is_winner = F.one_hot(winner, self.classes).bool()
        below, slope = squeezed_below(u, top)
        z = torch.where(is_winner, u, below)
        squeeze = slope.masked_fill(is_winner, 0.0).sum(1)  # of the losers; the matrix is triangular
        return Move(z, -((normal_log_prob(eps) - log_scale).sum(1) - squeeze))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z.argmax(1, keepdim=True).to(z.dtype)


class Shuffle(Layer):
    """A random order of the columns, both ways: the stack above it need not be symmetric, the density becomes so."""

    exact = False

    def gives(self, given: Support) -> Support:
        if given not in EXCHANGEABLE:
            raise ConfigError(f"Shuffle would leave the support of {given} values.")
        return given

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        return Move(self._shuffled(x, noise), x.new_zeros(len(x)))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return self._shuffled(z, noise)

    def _shuffled(self, x: Tensor, noise: Noise) -> Tensor:
        like = x.to(torch.promote_types(x.dtype, torch.float32))
        return x.gather(1, noise.uniform(like, x.shape[1:]).argsort(1))


class Encode(Layer):
    """A stochastic transform: z ~ q(z | x), x ~ p(x | z), as in a variational autoencoder."""

    exact = False

    def __init__(self, size: int, latent: int, hidden: int = 32) -> None:
        super().__init__()
        self.encoder = ConditionalNormal(size, latent, (hidden,))
        self.decoder = ConditionalNormal(latent, size, (hidden,))

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = self.encoder.sample(x, noise)
        return Move(z, self.decoder.log_prob(x, z) - self.encoder.log_prob(z, x))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return self.decoder.sample(z, noise)
