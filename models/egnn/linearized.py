"""An EGNN linearized at a point: its Jacobian times many directions, each about as cheap as a call of the network.

A pass at the point keeps what the derivatives need. A product then is one pass of linear maps, written out by hand:
automatic forward mode takes two to three times as long on a CPU. Directions `[k, b, n, c]` have one more axis in
front than the point; pairs are those of a dense bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.core.errors import ConfigError
from models.egnn.layers import Block, Displacement, Interaction, PairInput, RadialBasis, silu
from models.egnn.network import EGNN
from models.egnn.pairs import DensePairs, UndirectedPairs

Dense = DensePairs | UndirectedPairs
Push = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Directions of features `[k, b, n, inputs]` and of positions `[k, b, n, d]` to those of the two outputs."""
Looks = Sequence[tuple[Tensor, Tensor]]
"""Descriptions `[b, pairs, c]` of distances, each with its derivative with respect to the distance."""


def silu_slope(at: Tensor) -> Tensor:
    """The derivative of SiLU."""
    gate = torch.sigmoid(at)
    return gate * (1 + at * (1 - gate))


def normalized(layer: nn.LayerNorm | None, h: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """A LayerNorm at a point and its linear map; without a layer, the identity."""
    if layer is None:
        return h, lambda dh: dh
    centered = h - h.mean(-1, keepdim=True)
    scale = torch.rsqrt(centered.square().mean(-1, keepdim=True) + layer.eps)
    unit, factor = centered * scale, scale * layer.weight

    def push(dh: Tensor) -> Tensor:
        free = dh - dh.mean(-1, keepdim=True)
        return (free - unit * (free * unit).mean(-1, keepdim=True)) * factor

    return layer(h), push


def described(describe: nn.Module, squared: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """The description of distances and its derivative with respect to the distance."""
    value = describe(squared, distance)
    if not isinstance(describe, RadialBasis):
        return value, 2 * distance
    near = value[..., :-1] * (describe.centers - distance) / describe.width**2
    return value, torch.cat([near, 0.1 * distance], -1)


def pair_input(
    part: PairInput, h: Tensor, looks: Looks, pairs: Dense
) -> tuple[Tensor, Callable[[Tensor, Sequence[Tensor]], Tensor]]:
    """The first layer of a pair network at a point, and its linear map of features and of distances, one for each
    look.
    """
    # The description of a pair moves along one line, so its product with the weights is made once for all directions.
    weights = torch.split(part.edge.weight, [slope.shape[-1] for _, slope in looks], -1)
    lines = [slope @ weight.T for (_, slope), weight in zip(looks, weights, strict=True)]

    def push(dh: Tensor, dr: Sequence[Tensor]) -> Tensor:
        total = dr[0] * lines[0]
        for change, line in zip(dr[1:], lines[1:], strict=True):
            total.addcmul_(change, line)
        receiver = dh @ part.receiver.weight.T
        return pairs.joined(total, receiver, receiver if part.sender is None else dh @ part.sender.weight.T)

    return part(h, torch.cat([value for value, _ in looks], -1), pairs), push


def interaction(
    part: Interaction, h: Tensor, looks: Looks, pairs: Dense
) -> tuple[Tensor, Tensor, Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, Tensor]]]:
    """Updated features and gated messages at a point, and the linear map to those of both."""
    source, push_norm = normalized(part.norm, h)
    first, push_first = pair_input(part.first, source, looks, pairs)
    first_slope, hidden = silu_slope(first), silu(first)
    second = part.second(hidden)
    second_slope, m = silu_slope(second), silu(second)
    gate = None if part.gate is None else torch.sigmoid(part.gate(m))
    gated = m if gate is None else gate * m
    node = part.node_first(torch.cat([source, pairs.total(gated) / part.divisor], -1))
    node_slope = silu_slope(node)
    moved = h + part.node_second(silu(node))
    of_node, of_messages = torch.split(part.node_first.weight, [source.shape[-1], m.shape[-1]], -1)
    of_messages = of_messages / part.divisor

    def push(dh: Tensor, dr: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        d_source = push_norm(dh)
        change = push_first(d_source, dr).mul_(first_slope) @ part.second.weight.T
        change.mul_(second_slope)
        if gate is not None and part.gate is not None:
            opened = (change @ part.gate.weight.T).mul_(gate * (1 - gate))
            change.mul_(gate).addcmul_(opened, m)
        d_node = (d_source @ of_node.T).add_(pairs.total(change) @ of_messages.T).mul_(node_slope)
        return dh + d_node @ part.node_second.weight.T, change

    return moved, gated, push


def displacement(
    part: Displacement, h: Tensor, gated: Tensor, looks: Looks, pairs: Dense
) -> tuple[Tensor, Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]]:
    """The scalar of each pair at a point, and its linear map of features, gated messages and distances."""
    slopes: list[Tensor] = []
    c, push_first = gated, None
    if part.first is not None:
        first, push_first = pair_input(part.first, h, looks, pairs)
        slopes.append(silu_slope(first))
        c = silu(first)
    for layer in part.hidden:
        at = layer(c)
        slopes.append(silu_slope(at))
        c = silu(at)
    last = part.last(c)
    bound = None if part.range is None else part.range * (1 - torch.tanh(last).square())

    def push(dh: Tensor, d_gated: Tensor, dr: Sequence[Tensor]) -> Tensor:
        rest, change = iter(slopes), d_gated
        if push_first is not None:
            change = push_first(dh, dr).mul_(next(rest))
        for layer in part.hidden:
            change = F.linear(change, cast("Tensor", layer.weight)).mul_(next(rest))
        change = change @ part.last.weight.T
        return change if bound is None else change.mul_(bound)

    return part.bounded(last), push


def moving(
    block: Block, h: Tensor, looks: Looks, direction: Tensor, pairs: Dense
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor, Sequence[Tensor]], tuple[Tensor, Tensor]]]:
    """Updated features and displacements at a point; the linear map of features, unit directions and distances."""
    pushes, gated = [], h
    for part in block.interactions:
        h, gated, one = interaction(part, h, looks, pairs)  # type: ignore[arg-type]
        pushes.append(one)
    assert block.displacement is not None
    c, push_c = displacement(block.displacement, h, gated, looks, pairs)

    def push(dh: Tensor, d_direction: Tensor, dr: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        change = dh
        for one in pushes:
            dh, change = one(dh, dr)
        turned = pairs.displacement(c, d_direction)
        return dh, (turned + pairs.displacement(push_c(dh, change, dr), direction)) / block.divisor

    return h, pairs.displacement(c, direction) / block.divisor, push


def supports(network: EGNN) -> bool:
    """Whether a network can be linearized here: one that moves positions, without velocities or given edges."""
    config = network.config
    return config.moves and not config.velocity and not config.edge_inputs


def linearized(network: EGNN, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Push]:
    """The network's outputs for features `[b, n, inputs]` and positions `[b, n, d]`, and its linear map there.

    Without gradients. Raises ConfigError for a network that `supports` refuses.
    """
    if not supports(network):
        raise ConfigError(
            "EGNN: only a network that moves positions and is given nothing else is linearized."
        )
    symmetric = network.config.symmetric
    pairs: Dense = (UndirectedPairs if symmetric else DensePairs)(x.shape[-2], device=x.device)
    offset = network.config.distance_offset
    steps = []
    fixed: list[tuple[Tensor, Tensor]] = []
    h = network.embedding(h)
    for block in network.blocks:
        difference, _, distance = network.look(x, pairs)
        look = described(network.describe, difference.square().sum(-1, keepdim=True), distance)
        if network.config.input_distance and not fixed:
            fixed = [look]
        direction = difference / (distance + offset)
        h, moved, push_block = moving(block, h, [look, *fixed], direction, pairs)  # type: ignore[arg-type]
        x = x + moved
        steps.append((difference / distance, direction, distance + offset, push_block))

    def push(dh: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
        first: list[Tensor] = []
        dh = dh @ network.embedding.weight.T
        for unit, direction, length, push_block in steps:
            apart = pairs.receivers(dx) - pairs.senders(dx)
            dr = (apart * unit).sum(-1, keepdim=True)
            if network.config.input_distance and not first:
                first = [dr]
            dh, moved = push_block(dh, (apart - dr * direction) / length, [dr, *first])
            dx = dx + moved
        return dh @ network.embedding_out.weight.T, dx

    return network.embedding_out(h), x, push
