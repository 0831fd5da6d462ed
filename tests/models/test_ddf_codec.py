"""Laws of the codec of fingerprints: lossless, as short as the flow says, the same bytes in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.core.library_file import Block, LibraryError
from models.ddf.codec import FingerprintCodec, silu_table
from models.ddf.flow import DiscreteFlow


def flow_of(classes=2, layers=("coupling", "coupling", "split", "coupling", "split"), d=21):
    torch.manual_seed(0)
    config = {"dimensions": d, "classes": classes, "width": 24, "depth": 2, "layers": list(layers)}
    flow = DiscreteFlow(config)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
        for layer in flow.layers:
            layer.order.copy_(torch.randperm(len(layer.order)))
    flow.prior.fit(torch.randint(0, classes, (50, flow.remaining)))
    return flow.eval().requires_grad_(False)


@pytest.mark.parametrize("classes", [2, 5])
def test_what_is_decoded_is_what_was_encoded_in_any_block(classes):
    codec = FingerprintCodec(flow_of(classes))
    rows = np.random.default_rng(0).integers(0, classes, (40, 21)).astype(np.uint8)
    whole, cost = codec.encode(rows)
    assert (codec.decode(whole) == rows).all() and whole.molecules == 40
    assert sum(cost) - 1 <= 8 * len(whole.code) <= sum(cost) * 1.001 + 64
    for start in range(0, 40, 10):
        part, own = codec.encode(rows[start : start + 10])
        assert (
            own == pytest.approx(cost[start : start + 10])
            and (codec.decode(part) == rows[start : start + 10]).all()
        )
    empty, _ = codec.encode(rows[:0])
    assert codec.decode(empty).shape == (0, 21)


def test_a_code_is_hardly_longer_than_the_flow_says():
    flow = flow_of()
    rows = flow.double().sample([torch.Generator().manual_seed(k) for k in range(200)])
    _, cost = FingerprintCodec(flow).encode(rows.numpy().astype(np.uint8))
    exact = -flow.log_prob(rows) / np.log(2)
    assert float(exact.mean()) * 0.97 < sum(cost) / 200 < float(exact.mean()) * 1.05


def test_probabilities_sum_to_one_whatever_the_rounding():
    codec = FingerprintCodec(flow_of(d=8, layers=("coupling", "split")))
    every = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.uint8)
    _, cost = codec.encode(every)
    assert sum(2.0**-bits for bits in cost) == pytest.approx(1, abs=1e-9)


def test_bytes_that_are_no_code_are_refused_and_the_table_is_that_of_the_function():
    with pytest.raises(LibraryError, match="damaged"):
        FingerprintCodec(flow_of()).decode(Block(1, b"abc"))
    x = torch.linspace(-16, 16, 2049)
    torch.testing.assert_close(silu_table(), torch.nn.functional.silu(x), rtol=1e-5, atol=1e-6)
