"""Fitting a proposal to one matrix by lowering the variational bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.errors import ConfigError, DivergedError
from models.vde import sphere
from models.vde.errors import NotPositiveDefiniteError
from models.vde.flows import SphericalFlow
from models.vde.operators import Form, LinearOperator
from models.vde.projective import TriangularProjection
from models.vde.weights import log_shrinkage, power

DELAY = 5.0
"""Natural-gradient steps shrink as DELAY / (step + DELAY), which averages the noise of all steps."""


@dataclass(frozen=True)
class Fit:
    """How a fit went: the bound at every step (of that step's batch) and the products it took."""

    bounds: tuple[float, ...]
    matvecs: int


def fit(
    flow: SphericalFlow,
    operator: LinearOperator,
    *,
    form: Form = "general",
    steps: int = 300,
    batch: int = 128,
    rate: float = 1e-3,
    generator: torch.Generator,
    progress: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Fit:
    """Lower E[-log w], in place: a natural gradient for triangular projections, else AdamW at `rate`.

    A step takes `batch` products, twice as many where the gradient needs A^T. Raises ConfigError,
    NotPositiveDefiniteError, DivergedError, and InterruptedError when `cancelled` answers yes.
    """
    if steps < 0 or batch < 1:
        raise ConfigError(f"steps ({steps}) must not be negative and batch ({batch}) must be at least 1.")
    if flow.size != operator.size:
        raise ConfigError(f"the flow has {flow.size} dimensions, the matrix {operator.size}.")
    before = operator.matvecs
    if isinstance(flow, TriangularProjection):
        step: Callable[[int], float] = _NaturalStep(flow, operator, form, batch, generator)
    else:
        step = _AdamStep(flow, operator, form, batch, rate, steps, generator)
    bounds = []
    for count in range(steps):
        if cancelled():
            raise InterruptedError("the training was cancelled")
        bounds.append(step(count))
        if not abs(bounds[-1]) < float("inf"):
            raise DivergedError(f"the bound is {bounds[-1]} after {count} steps of training.")
        progress(count + 1)
    return Fit(tuple(bounds), operator.matvecs - before)


class _AdamStep:
    """AdamW on the bound, with a learning rate that falls to zero along a cosine."""

    def __init__(
        self, flow: SphericalFlow, operator: LinearOperator, form: Form,
        batch: int, rate: float, steps: int, generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.flow, self.operator, self.form, self.batch, self.generator = (
            flow,
            operator,
            form,
            batch,
            generator,
        )
        self.optimizer = torch.optim.AdamW(flow.parameters(), lr=rate, weight_decay=0.0)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(steps, 1))

    def __call__(self, count: int) -> float:  # noqa: ARG002
        s, log_jacobian = self.flow.sample(self.batch, self.generator)
        loss = -power(self.form) * (log_shrinkage(self.operator, s, self.form) + log_jacobian).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 10.0 * self.flow.size)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()


class _NaturalStep:
    """The bound's gradient along L -> L (I + dL), with dL lower triangular.

    It does not change when A is replaced by A B and L by B^-1 L, so neither does the convergence: the condition
    number of A does not matter. With uniform z and s = L z the gradient is n E[(L^T A^T A s) z^T / |A s|^2] - I, and
    for the square root n E[(L^T A s) z^T / s^T A s] - I, which takes no product beyond the weight's own.
    """

    def __init__(
        self, flow: TriangularProjection, operator: LinearOperator, form: Form,
        batch: int, generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.flow, self.operator, self.form, self.batch, self.generator = (
            flow,
            operator,
            form,
            batch,
            generator,
        )

    def __call__(self, count: int) -> float:
        n, operator, factor = self.flow.size, self.operator, self.flow.factor.detach()
        z = sphere.uniform(self.batch, n, self.generator)
        s = z @ factor.T
        image = operator.apply(s)
        if self.form == "spd":
            squares, back = (s * image).sum(1), image
            if bool((squares <= 0).any()):
                raise NotPositiveDefiniteError(
                    "the matrix is not positive definite: s^T A s <= 0 for a vector s."
                )
        else:
            squares, back = image.square().sum(1), operator.apply_transpose(image)
        identity = torch.eye(n, dtype=torch.float64)
        gradient: Tensor = (n / self.batch * (back @ factor / squares[:, None]).T @ z).tril() - identity
        # log w = log|det L| - n/2 log(squares); for the square root the bound is twice that.
        log_weight = factor.diagonal().log().sum() - 0.5 * n * squares.log().mean()
        # |step| <= 1 in Frobenius norm would allow a zero on the diagonal of I - step: stay at half.
        length = min(DELAY / (count + DELAY), 0.5 / float(gradient.norm()) if gradient.any() else 1.0)
        factor = factor @ (identity - length * gradient)
        # The scale of L means nothing; keep its determinant at one.
        factor = factor / factor.diagonal().log().mean().exp()
        self.flow.factor.data.copy_(factor)
        return -power(self.form) * float(log_weight)
