"""Muon in float32 takes the steps of torch's, which rounds to bfloat16."""

from __future__ import annotations

import pytest
import torch

from models.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (9, 9)])
def test_singular_values_become_alike_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonal(matrix[None], torch.float32)[0] @ v.T
    values = found.diagonal()
    assert float(values.min()) > 0.65 and float(values.max()) < 1.25
    assert float((found - values.diag()).abs().max()) < 1e-4


def test_steps_are_those_of_torch_up_to_its_rounding() -> None:
    source = torch.Generator().manual_seed(1)
    start = torch.randn(8, 20, generator=source)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.9}
    one = Muon([ours], **settings)
    other = torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        gradient = torch.randn(8, 20, generator=source)
        for parameter, optimizer in ((ours, one), (theirs, other)):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = float((theirs - start).detach().norm())
    assert float((ours - theirs).detach().norm()) < 0.03 * moved
    with pytest.raises(NotImplementedError):
        one.step(lambda: 0.0)


def test_matrices_of_one_shape_move_as_each_would_alone() -> None:
    source = torch.Generator().manual_seed(2)
    start = [torch.randn(6, 10, generator=source) for _ in range(3)] + [torch.randn(10, 6, generator=source)]
    gradients = [torch.randn(matrix.shape, generator=source) for matrix in start]
    together = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    alone = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    for parameter, gradient in zip(together + alone, gradients * 2, strict=True):
        parameter.grad = gradient.clone()
    Muon(together, lr=0.01, momentum=0.9).step()
    for parameter in alone:
        Muon([parameter], lr=0.01, momentum=0.9).step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
