"""Convolutions of equal input and output shape, of one or two dimensions, with a learned inverse kernel.

As a matrix, a convolution repeats each kernel entry along a diagonal, m times. The gradient of its log-determinant
for an entry is thus the sum of m entries of the transposed inverse, for which the flipped, channel-transposed inverse
kernel stands in. Reference: Keller et al. (2021), https://arxiv.org/abs/2011.07248.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx
from torch.nn import functional as F
from torch.nn.grad import conv1d_weight, conv2d_weight

from models.core.errors import ConfigError


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Zero-padded, of equal shape: x `[b, c, *space]`, kernel `[c, c, *odd]`."""
    padding = [k // 2 for k in kernel.shape[2:]]
    return (F.conv1d if x.dim() == 3 else F.conv2d)(x, kernel, padding=padding)


def occurrences(space: Sequence[int], kernel: Sequence[int]) -> Tensor:
    """How often each kernel entry occurs in the matrix, `[*kernel]`: the positions whose neighbor is inside."""
    counts = torch.ones(())
    for n, k in zip(space, kernel, strict=True):
        along = torch.tensor([max(n - abs(i - k // 2), 0) for i in range(k)], dtype=torch.float32)
        counts = counts[..., None] * along
    return counts


def transposed_flip(kernel: Tensor) -> Tensor:
    """The kernel of the transposed matrix."""
    return kernel.transpose(0, 1).flip(tuple(range(2, kernel.dim())))


class SelfNormalizedConvolution(Function):
    """As the dense one, with kernels."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, W: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        """The convolution, and a zero that stands in for its log-determinant."""
        z = convolve(x, W)
        ctx.save_for_backward(x, z, W, R)
        return z, x.new_zeros(len(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Half through W, half through R."""
        x, z, W, R = ctx.saved_tensors
        grad_z, grad_log = gradients
        grad_x = convolve(grad_z, transposed_flip(W))
        count = grad_log.sum() * occurrences(x.shape[2:], W.shape[2:]).to(W)
        grad_W = 0.5 * (kernel_gradient(x, grad_z, W) + count * transposed_flip(R))
        grad_R = 0.5 * (-kernel_gradient(z, grad_x, R) - count * transposed_flip(W))
        return grad_x, grad_W, grad_R


def kernel_gradient(x: Tensor, grad_z: Tensor, kernel: Tensor) -> Tensor:
    """Gradient of sum(grad_z * convolve(x, kernel)) for the kernel."""
    padding = [k // 2 for k in kernel.shape[2:]]
    find = conv1d_weight if x.dim() == 3 else conv2d_weight
    found: Tensor = find(x, kernel.shape, grad_z, padding=padding)  # type: ignore[no-untyped-call]
    return found


class SelfNormConvolution(nn.Module):
    """A zero-padded convolution near the identity. kernel: odd sizes, one number a dimension."""

    def __init__(self, channels: int, kernel: Sequence[int], *, spread: float = 0.05) -> None:
        super().__init__()
        if len(kernel) not in (1, 2) or any(k % 2 == 0 for k in kernel):
            raise ConfigError(f"kernel is {list(kernel)}; wanted one or two odd sizes.")
        middle: tuple[slice | int, ...] = (slice(None), slice(None), *[k // 2 for k in kernel])
        identity = torch.zeros(channels, channels, *kernel)
        identity[middle] = torch.eye(channels)
        noise = spread * torch.randn_like(identity) / identity[0].numel() ** 0.5
        self.weight = nn.Parameter(identity + noise)
        self.inverse_weight = nn.Parameter(identity - noise)
        self.bias = nn.Parameter(torch.zeros(channels, *[1] * len(kernel)))

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For training: z, the stand-in for the log-determinant, and |R * W * x - x|^2, each row."""
        z, log_det = SelfNormalizedConvolution.apply(x, self.weight, self.inverse_weight)  # type: ignore[no-untyped-call]
        again = convolve(convolve(x.detach(), self.weight), self.inverse_weight)
        return z + self.bias, log_det, (again - x.detach()).square().flatten(1).sum(1)

    def matrix(self, shape: Sequence[int]) -> Tensor:
        """The convolution as a dense matrix, for values of `shape` (channels, *space), in 64 bits."""
        size = int(torch.tensor(shape).prod())
        basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
        return convolve(basis, self.weight.double()).flatten(1).T

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the exact log-determinant `[b]`, from the dense matrix."""
        log_det = torch.linalg.slogdet(self.matrix(x.shape[1:]))[1].to(x.dtype)
        return convolve(x, self.weight) + self.bias, log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Exact, by solving with the dense matrix."""
        right = (z - self.bias).double().flatten(1).T
        x: Tensor = torch.linalg.solve(self.matrix(z.shape[1:]), right).T.reshape(z.shape).to(z.dtype)
        return x

    @torch.no_grad()
    def drift(self, shape: Sequence[int]) -> float:
        """Root mean square singular value of R W - 1, for values of `shape`."""
        size = int(torch.tensor(shape).prod())
        basis = torch.eye(size).view(size, *shape)
        again = convolve(convolve(basis, self.weight.float()), self.inverse_weight.float())
        return float((again - basis).norm() / size**0.5)
