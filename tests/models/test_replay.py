"""Training on a GPU: recorded work is the same work. The recording itself needs a GPU; the rest does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from models.core.errors import ConfigError
from models.core.random import generator, purpose_seed, stratified
from models.edm.model import EDM
from models.training.command import training_device
from models.training.data.strings import StringBatch
from models.training.replay import Replay, tensors

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_the_tensors_of_a_batch_are_found_by_name() -> None:
    molecules = Batch.from_data_list([Data(z=torch.tensor([6, 1]), pos=torch.zeros(2, 3)) for _ in range(3)])
    assert {"z", "pos"} <= set(tensors(molecules))
    assert list(tensors(StringBatch(torch.zeros(2, 5, dtype=torch.long), (0, 1)))) == ["tokens"]


def test_a_device_that_is_not_there_is_refused_with_what_to_do() -> None:
    assert training_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="choose cpu or cuda"):
        training_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            training_device("cuda")


def test_stratified_numbers_lie_one_in_each_part() -> None:
    found = stratified(64, generator(1, "parts"))
    assert (found * 64).long().tolist() == list(range(64))


@needs_gpu
def test_a_replayed_bucket_gives_the_gradients_of_a_run_one(make_edm: Callable[..., EDM]) -> None:
    model = make_edm("data").cuda()
    source = torch.Generator("cuda")

    def run(batch: Any) -> dict[str, torch.Tensor]:
        losses = model.loss(batch.to("cuda"), options={}, generator=source)
        losses["loss"].sum().backward()
        return {name: value.detach() for name, value in losses.items()}

    def bucket(k: int) -> Any:
        drawn = torch.Generator().manual_seed(k)
        return Batch.from_data_list([
            Data(z=torch.tensor([6, 1, 1, 8]), pos=torch.randn(4, 3, generator=drawn)) for _ in range(8)
        ])  # fmt: skip

    def gradients(work: Callable[[Any], dict[str, torch.Tensor]], k: int) -> tuple[list[torch.Tensor], float]:
        source.manual_seed(purpose_seed(0, f"step {k}"))
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        loss = float(work(bucket(k))["loss"].sum())
        return [p.grad.clone() for p in model.parameters() if p.grad is not None], loss

    replay = Replay(run, source)
    for k in range(6):
        (ours, loss), (wanted, wanted_loss) = gradients(replay, k), gradients(run, k)
        assert loss == pytest.approx(wanted_loss, rel=1e-4)
        for one, other in zip(ours, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert len(replay.recorded) == 1
