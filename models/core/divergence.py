"""Divergence of a vector field over batches of molecules, exact or by Hutchinson's estimator.

Molecules of a batch do not interact, so one product with the Jacobian serves them all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp, vmap

Field = Callable[[Tensor], Tensor]


def hutchinson(field: Field, state: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """The field and probe^T J probe of each molecule: `[b, n, c]` to `[b, n, c]` and `[b]`.

    By reverse mode: for a single product its overhead on a CPU is a tenth of forward mode's.
    """
    with torch.enable_grad():
        at = state.detach().requires_grad_()
        value = field(at)
        (product,) = torch.autograd.grad(value, at, probe)
    return value.detach(), (product * probe).sum((-1, -2))


def exact_divergence(
    field: Field, state: Tensor, directions: Tensor, *, chunk: int = 16
) -> tuple[Tensor, Tensor]:
    """The field and its divergence within the span of orthonormal `directions` `[k, n, c]`.

    One forward-mode Jacobian-vector product per direction, `chunk` of them at a time.
    """

    def along(direction: Tensor) -> Tensor:
        tangent = direction.expand_as(state)
        product: Tensor = jvp(field, (state,), (tangent,))[1]
        return (product * tangent).sum((-1, -2))

    products: Tensor = vmap(along, chunk_size=chunk)(directions)
    return field(state), products.sum(0)


def centered_directions(n: int, dimensions: int, features: int, *, dtype: torch.dtype) -> Tensor:
    """Orthonormal directions of centered positions and free features, `[d(n-1) + n*features, n, d + features]`."""
    spanning = torch.cat([torch.ones(n, 1, dtype=dtype), torch.eye(n, n - 1, dtype=dtype)], 1)
    basis = torch.linalg.qr(spanning)[0][:, 1:]
    out = []
    for column in range(dimensions):
        block = torch.zeros(n - 1, n, dimensions + features, dtype=dtype)
        block[:, :, column] = basis.T
        out.append(block)
    for column in range(features):
        block = torch.zeros(n, n, dimensions + features, dtype=dtype)
        block[:, :, dimensions + column] = torch.eye(n, dtype=dtype)
        out.append(block)
    return torch.cat(out)
