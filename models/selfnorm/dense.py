"""A dense layer z = W x + b that carries R, its learned inverse.

The objective is the mean of two likelihoods, of the flow and of the flow whose inverse is R; the gradient of each
log-determinant needs W^-T or R^-T, for which the other matrix stands in: O(D^2) instead of O(D^3). At R = W^-1 the
gradient is the exact one. Reference: Keller et al. (2021), https://arxiv.org/abs/2011.07248.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx


class SelfNormalized(Function):
    """(x `[b, d]`, W, R) to z = x W^T `[b, d]` and a stand-in `[b]` for log|det W|.

    The stand-in's value is zero; its gradient is R^T for W and, as half of the objective sees R alone, -W^T for R.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, W: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        """The values."""
        z = x @ W.T
        ctx.save_for_backward(x, z, W, R)
        return z, x.new_zeros(len(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Half of the gradient through W, half through R."""
        x, z, W, R = ctx.saved_tensors
        grad_z, grad_log = gradients
        grad_x = grad_z @ W
        total = grad_log.sum()
        grad_W = 0.5 * (grad_z.T @ x + total * R.T)
        grad_R = 0.5 * (-grad_x.T @ z - total * W.T)
        return grad_x, grad_W, grad_R


class SelfNormLinear(nn.Module):
    """W starts near the identity and R as its transpose, which is its inverse up to the small difference."""

    def __init__(self, size: int, *, spread: float = 0.01) -> None:
        super().__init__()
        weight = torch.eye(size) + spread * torch.randn(size, size) / size**0.5
        self.weight = nn.Parameter(weight)
        self.inverse_weight = nn.Parameter(
            2 * torch.eye(size) - weight.detach()
        )  # first order of the inverse
        self.bias = nn.Parameter(torch.zeros(size))

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For training: z, the stand-in for the log-determinant, and |R W x - x|^2, each row."""
        z, log_det = SelfNormalized.apply(x, self.weight, self.inverse_weight)  # type: ignore[no-untyped-call]
        again = (x.detach() @ self.weight.T) @ self.inverse_weight.T
        return z + self.bias, log_det, (again - x.detach()).square().sum(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the exact log|det W| `[b]`."""
        z = x @ self.weight.T + self.bias
        return z, self.log_det().expand(len(x))

    def log_det(self) -> Tensor:
        """Exact, in 64 bits, by LU."""
        found: Tensor = torch.linalg.slogdet(self.weight.double())[1].to(self.weight.dtype)
        return found

    def inverse(self, z: Tensor) -> Tensor:
        """Exact, by solving with W; R is for the gradient."""
        weight, bias = self.weight.double(), self.bias.double()
        x: Tensor = torch.linalg.solve(weight, (z.double() - bias).T).T.to(z.dtype)
        return x

    @torch.no_grad()
    def drift(self) -> float:
        """Root mean square singular value of R W - 1: how far the learned inverse is off."""
        eye = torch.eye(len(self.bias), device=self.bias.device)
        return float((self.inverse_weight @ self.weight - eye).norm() / len(eye) ** 0.5)
