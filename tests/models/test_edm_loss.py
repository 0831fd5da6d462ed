"""What the denoising loss does to molecules before the network sees them."""

from __future__ import annotations

import pytest
import torch

from models.core.errors import ConfigError
from models.edm.loss import DISTORTED_SHARE, LossOptions, distort


def test_distortion_adds_its_share_of_noise_and_stays_centered() -> None:
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 20, 3, generator=source)
    noise = noise - noise.mean(1, keepdim=True)
    more = distort(noise, 2.0, source) - noise
    assert float(more.mean(1).abs().max()) < 1e-5
    # Each coordinate gets N(0, 4) once in five: 0.8, less the center's part; 6 standard errors of 8,000 atoms.
    expected = DISTORTED_SHARE * 4 * 19 / 20
    assert float(more.square().mean()) == pytest.approx(expected, abs=6 * 0.015)


def test_distortion_of_size_zero_changes_nothing() -> None:
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 5, 3, generator=source)
    noise = noise - noise.mean(1, keepdim=True)
    assert torch.allclose(distort(noise, 0.0, source), noise, atol=1e-6)


def test_a_negative_distortion_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        LossOptions.from_dict({"distortion": -0.1})
