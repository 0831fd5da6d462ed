"""Greedy training: each layer alone, by cross-entropy, then frozen; kept only if held-out data like it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.ddf.flow import DiscreteFlow
from models.ddf.layers import FactorisedPrior, Layer, Split

CHUNK = 4096


@dataclass(frozen=True)
class FitOptions:
    """How every layer is trained: passes over the data, batch, Adam's rate (falling to zero), weight decay."""

    epochs: int = 10
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    threshold: float = 0.002
    """Nats of held-out log-likelihood that a layer must bring to stay."""


@dataclass(frozen=True)
class LayerRecord:
    """What became of one proposed layer: held-out nats of the flow before and with it."""

    kind: str
    before: float
    after: float
    kept: bool


@dataclass
class Moving:
    """Data on its way through the flow: what is left of each row, and the log-probability already spent."""

    z: Tensor
    logs: Tensor

    @classmethod
    def start(cls, x: Tensor) -> Moving:
        """Rows before the first layer."""
        return cls(x.long(), torch.zeros(len(x), dtype=torch.float64))

    @torch.no_grad()
    def through(self, layer: Layer) -> Moving:
        """The same rows behind one more layer."""
        parts, logs = [], []
        for z, spent in zip(torch.split(self.z, CHUNK), torch.split(self.logs, CHUNK), strict=True):
            if isinstance(layer, Split):
                left, part = layer(z)
                parts.append(left)
                logs.append(spent + part)
            else:
                parts.append(layer(z))
                logs.append(spent)
        return Moving(torch.cat(parts), torch.cat(logs))

    def closed(self, prior: FactorisedPrior) -> Tensor:
        """log p of every row when the flow ends here."""
        return self.logs + prior.log_prob(self.z)


def next_layer(
    flow: DiscreteFlow,
    kind: str,
    train: Moving,
    valid: Moving,
    options: FitOptions,
    generator: torch.Generator,
) -> tuple[LayerRecord, Moving, Moving]:
    """Propose one layer, train it, keep it if the held-out likelihood rises; returns the data behind the flow.

    The flow's prior is fitted in either case, so that the flow is whole after every call.
    """
    flow.prior.fit(train.z)
    before = -float(valid.closed(flow.prior).mean())
    layer = flow.new_layer(kind)
    layer.order = next_order(flow, train.z.shape[1], generator)
    train_alone(layer, train.z, valid.z, options, generator)
    moved, seen = train.through(layer), valid.through(layer)
    prior = FactorisedPrior(moved.z.shape[1], flow.classes)
    prior.fit(moved.z)
    after = -float(seen.closed(prior).mean())
    if before - after < options.threshold:
        return LayerRecord(kind, before, after, kept=False), train, valid
    flow.append(layer)
    flow.prior = prior
    return LayerRecord(kind, before, after, kept=True), moved, seen


def next_order(flow: DiscreteFlow, dimensions: int, generator: torch.Generator) -> Tensor:
    """A random division; but the second of two couplings asks for what the first was given."""
    layers = [layer for layer in flow.layers if isinstance(layer, Layer)]
    run = 0
    while run < len(layers) and not isinstance(layers[-1 - run], Split):
        run += 1
    if run % 2:
        last = layers[-1]
        return last.order.roll(last.given + dimensions % 2)
    return torch.randperm(dimensions, generator=generator)


def train_alone(
    layer: Layer, train: Tensor, valid: Tensor, options: FitOptions, generator: torch.Generator
) -> None:
    """Cross-entropy of one layer's network; the epoch that held-out rows like best is kept."""
    for parameter, bound in _weights(layer):
        parameter.data.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.AdamW(
        layer.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    steps = options.epochs * -(-len(train) // options.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1.0 - step / steps, 0.0))
    best, kept = float("inf"), copy.deepcopy(layer.state_dict())
    for _ in range(options.epochs):
        layer.train()
        for rows in _batches(len(train), options.batch, generator):
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(layer.cross_entropy(train[rows]).mean())
            optimizer.step()
            schedule.step()
        layer.eval()
        with torch.no_grad():
            losses = [layer.cross_entropy(part) for part in torch.split(valid, CHUNK)]
        held_out = float(torch.cat(losses).mean())
        if held_out < best:
            best, kept = held_out, copy.deepcopy(layer.state_dict())
    layer.load_state_dict(kept)
    layer.requires_grad_(False)


def _weights(layer: Layer) -> Iterator[tuple[Tensor, float]]:
    """The hidden layers' tensors with the bound of their first values, so that the generator alone decides."""
    for linear in layer.network.hidden:
        bound = linear.in_features**-0.5  # type: ignore[operator]
        yield linear.weight, bound  # type: ignore[misc]
        yield linear.bias, bound  # type: ignore[misc]


def _batches(n: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    return iter(torch.split(torch.randperm(n, generator=generator), batch))


def fit(
    flow: DiscreteFlow,
    x_train: Tensor,
    x_valid: Tensor,
    kinds: tuple[str, ...],
    options: FitOptions,
    generator: torch.Generator,
    watch: Callable[[LayerRecord], None] = lambda _: None,
) -> list[LayerRecord]:
    """Propose layers of `kinds` in order at the end of `flow`, which must have none yet."""
    train, valid = Moving.start(x_train), Moving.start(x_valid)
    records = []
    for kind in kinds:
        if flow.remaining < 2:
            break
        record, train, valid = next_layer(flow, kind, train, valid, options, generator)
        records.append(record)
        watch(record)
    return records
