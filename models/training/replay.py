"""Forward and backward of a bucket as one CUDA graph: small networks keep a GPU waiting for their launches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")
Pass = Callable[[Any], dict[str, Tensor]]
WARM_UPS = 2
SHAPES = 256
"""How many shapes are recorded; others run as usual."""


def tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by name, of torch-geometric or of our own."""
    values: Mapping[str, Any] = batch.to_dict() if hasattr(batch, "to_dict") else vars(batch)
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


class Replay:
    """Runs `run` on batches in the processor's memory, and records it at the third batch of a shape; from then on a
    batch is copied into the recorded one and the recording replayed. `run` adds to the parameters' gradients.

    `run` must draw from `source` alone, a CUDA generator, must not wait for the GPU, and the gradients must stay the
    same tensors. What it returned is overwritten by the next call.
    """

    def __init__(self, run: Pass, source: torch.Generator) -> None:
        self.run, self.source = run, source
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.seen: dict[Any, int] = {}
        self.recorded: dict[Any, tuple[torch.cuda.CUDAGraph, dict[str, Tensor], dict[str, Tensor]]] = {}

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """Losses of a batch `[b]`, by name."""
        given = tensors(batch)
        shape = tuple((name, value.shape) for name, value in sorted(given.items()))
        if shape not in self.recorded:
            self.seen[shape] = self.seen.get(shape, 0) + 1
            if self.seen[shape] <= WARM_UPS or len(self.recorded) >= SHAPES:
                return self._aside(batch)
            self._record(shape, batch)
        graph, fixed, losses = self.recorded[shape]
        for name, value in given.items():
            fixed[name].copy_(value.pin_memory(), non_blocking=True)
        graph.replay()
        return losses

    def _aside(self, batch: Any) -> dict[str, Tensor]:
        """Run as usual, on the stream that records: gradients must be made where they will be added to."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            losses = self.run(batch)
        torch.cuda.current_stream().wait_stream(self.stream)
        return losses

    def _record(self, shape: Any, batch: Any) -> None:
        batch = batch.to(self.source.device)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.source)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            losses = self.run(batch)
        self.recorded[shape] = graph, tensors(batch), losses
