"""Layers that lose nothing and add nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.survae.contract import Layer, Move, Noise, Support

EXCHANGEABLE = ("real", "positive", "unit", "integers", "counts")
"""Supports that stay what they are when their components change places."""


def softplus_inverse(x: Tensor) -> Tensor:
    """z with log(1 + e^z) = x, for x > 0, without overflow."""
    return x + torch.log(-torch.expm1(-x))


class Affine(Layer):
    """z = (x - shift) / scale with learned or given numbers `[d]`."""

    def __init__(self, shift: Sequence[float] | Tensor, scale: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.as_tensor(shift, dtype=torch.float32).clone())
        self.log_scale = nn.Parameter(torch.as_tensor(scale, dtype=torch.float32).log())

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        ladj = -self.log_scale.sum().to(x.dtype).expand(len(x))
        return Move((x - self.shift.to(x.dtype)) * torch.exp(-self.log_scale.to(x.dtype)), ladj)

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z * self.log_scale.to(z.dtype).exp() + self.shift.to(z.dtype)


class Linear(Layer):
    """z = L U (x - b): a dense matrix whose determinant is the product of a diagonal."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(size, size))
        self.upper = nn.Parameter(torch.zeros(size, size))
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Unit lower and upper triangular matrices."""
        eye = torch.eye(len(self.bias), dtype=dtype, device=self.bias.device)
        lower = self.lower.to(dtype).tril(-1) + eye
        upper: Tensor = self.upper.to(dtype).triu(1) + torch.diag(self.log_diagonal.to(dtype).exp())
        return lower, upper

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        lower, upper = self.factors(x.dtype)
        z = (x - self.bias.to(x.dtype)) @ (lower @ upper).T
        return Move(z, self.log_diagonal.sum().to(x.dtype).expand(len(x)))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        lower, upper = self.factors(z.dtype)
        half = torch.linalg.solve_triangular(lower, z.T, upper=False, unitriangular=True)
        x: Tensor = torch.linalg.solve_triangular(upper, half, upper=True).T + self.bias.to(z.dtype)
        return x


class Permute(Layer):
    """A fixed order of the columns: z_i = x_order(i)."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        chosen = torch.tensor(list(order))
        if sorted(chosen.tolist()) != list(range(len(chosen))):
            raise ConfigError(f"{list(order)} is not an order of {len(chosen)} columns.")
        self.register_buffer("order", chosen)
        self.register_buffer("back", chosen.argsort())

    def gives(self, given: Support) -> Support:
        if given not in EXCHANGEABLE:
            raise ConfigError(f"Permute would leave the support of {given} values.")
        return given

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        return Move(x[:, self.order], x.new_zeros(len(x), dtype=torch.promote_types(x.dtype, torch.float32)))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return z[:, self.back]


class Positive(Layer):
    """(0, inf)^d to R^d: the inverse of softplus, which is the identity for large values."""

    takes: Support = "positive"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = softplus_inverse(x)
        return Move(z, -F.logsigmoid(z).flatten(1).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return F.softplus(z)


class Gaps(Layer):
    """Ascending vectors to R^d: the first value, then the gaps through the inverse of softplus.

    Without it the density over sorted vectors would spend mass outside the ordered chamber.
    """

    takes: Support = "ordered"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = softplus_inverse(x.diff(dim=1))
        return Move(torch.cat([x[:, :1], z], 1), -F.logsigmoid(z).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return torch.cat([z[:, :1], F.softplus(z[:, 1:])], 1).cumsum(1)


class Logit(Layer):
    """(0, 1)^d to R^d."""

    takes: Support = "unit"

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z = torch.logit(x)
        return Move(z, -(F.logsigmoid(z) + F.logsigmoid(-z)).flatten(1).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        return torch.sigmoid(z)


class FromZuko(Layer):
    """Any of zuko's lazy transforms of R^d: affine and spline couplings, autoregressive ones."""

    def __init__(self, lazy: nn.Module, size: int) -> None:
        super().__init__()
        self.lazy, self.size = lazy, size

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Move:  # noqa: ARG002
        z, ladj = self.lazy(context).call_and_ladj(x)
        return Move(z, ladj if ladj.dim() == 1 else ladj.sum(-1))

    def inverse(self, z: Tensor, context: Tensor | None, noise: Noise) -> Tensor:  # noqa: ARG002
        x: Tensor = self.lazy(context).inv(z)
        return x


def coupling(size: int, context: int, hidden: Sequence[int], **options: Any) -> FromZuko:
    """Affine coupling: half of the columns shift and scale the others."""
    return autoregressive(size, context, hidden, passes=2, **options)


def autoregressive(
    size: int, context: int, hidden: Sequence[int], *, bins: int = 0, bound: float = 5.0, **options: Any
) -> FromZuko:
    """Every column moved by a function of those before it: affine, or with `bins` a rational-quadratic spline."""
    if bins:
        options |= {
            "univariate": _Spline(bound),
            "shapes": [(bins,), (bins,), (bins - 1,)],
        }
    lazy = zuko.flows.MaskedAutoregressiveTransform(
        features=size, context=context, hidden_features=tuple(hidden), **options
    )
    return FromZuko(lazy, size)


class _Spline:
    """zuko's spline with a bound of its own."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def __call__(self, *parameters: Tensor) -> Any:
        return zuko.transforms.MonotonicRQSTransform(*parameters, bound=self.bound)
