"""A distribution over node positions from which the decoder makes new graphs.

The encoder's positions have no preferred direction and no order, so the prior must have none either. A kind of
graphs has G groups of nodes (Erdos-Renyi 1, community 2). Group centers lie apart by a normal distance; around
each center the nodes are Gaussian with eigenvalues of their own, whose logarithms are normal with a mean that is
linear in the logarithm of the group's size. All of it is fitted to encoded training graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError


class PriorStatistics(nn.Module):
    """What is fitted, kind by kind: saved with the weights."""

    distance: Tensor
    level: Tensor
    slope: Tensor
    spread: Tensor

    def __init__(self, kinds: Mapping[str, Mapping[str, Any]], dimensions: int) -> None:
        super().__init__()
        self.register_buffer("distance", torch.zeros(len(kinds), 2))  # mean and standard deviation
        self.register_buffer(
            "level", torch.zeros(len(kinds), dimensions)
        )  # log eigenvalues of a group of one
        self.register_buffer("slope", torch.zeros(len(kinds), dimensions))  # their change with log size
        self.register_buffer("spread", torch.eye(dimensions).repeat(len(kinds), 1, 1))  # Cholesky factors


class LatentPrior:
    """Draws node positions of new graphs. kinds: name to {"groups": G, "sizes": histogram of group sizes}."""

    def __init__(
        self, kinds: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int], statistics: PriorStatistics
    ) -> None:
        self.kinds = {name: dict(values) for name, values in kinds.items()}
        self.sizes = {int(n): int(count) for n, count in sizes.items()}
        self.statistics = statistics

    def kind(self, name: str) -> int:
        """Number of a kind. Raises ConfigError for an unknown one."""
        if name not in self.kinds:
            raise ConfigError(f"graphs: kind is {name!r}; this model knows {', '.join(self.kinds)}.")
        return list(self.kinds).index(name)

    def group_sizes(self, name: str, n_nodes: int | None, source: torch.Generator) -> list[int]:
        """Sizes of the groups of one graph: as in the data, or about equal parts of `n_nodes`."""
        groups = int(self.kinds[name]["groups"])
        if n_nodes is not None:
            return [n_nodes // groups + (k < n_nodes % groups) for k in range(groups)]
        histogram = {int(n): count for n, count in self.kinds[name]["sizes"].items()}
        weights = torch.tensor(list(histogram.values()), dtype=torch.float64)
        chosen = torch.multinomial(weights, groups, replacement=True, generator=source)
        return [list(histogram)[k] for k in chosen.tolist()]

    def draw(self, name: str, n_nodes: int | None, source: torch.Generator) -> Tensor:
        """Centered node positions `[n, dimensions]` of one new graph, in float64."""
        k = self.kind(name)
        s = self.statistics
        dimensions = s.level.shape[1]
        parts = self.group_sizes(name, n_nodes, source)
        out: list[Tensor] = []
        for number, size in enumerate(parts):
            normal = torch.randn(dimensions, generator=source, dtype=torch.float64)
            log_values = s.level[k] + s.slope[k] * torch.log(torch.tensor(float(max(size, 1))))
            log_values = log_values.double() + s.spread[k].double() @ normal
            points = torch.randn(size, dimensions, generator=source, dtype=torch.float64)
            points = (points - points.mean(0)) * (0.5 * log_values).exp()
            points = points @ random_rotation(dimensions, source)
            center = torch.zeros(dimensions, dtype=torch.float64)
            if len(parts) > 1:
                apart = s.distance[k, 0] + s.distance[k, 1] * torch.randn((), generator=source)
                center[number % dimensions] = float(apart) / 2**0.5  # any two are `apart` from each other
            out.append(points + center)
        z = torch.cat(out)
        centered: Tensor = z - z.mean(0)
        return centered


def random_rotation(dimensions: int, source: torch.Generator) -> Tensor:
    """A random orthogonal matrix, uniform (QR of a Gaussian matrix with the signs made unique)."""
    q, r = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=source, dtype=torch.float64))
    rotation: Tensor = q * r.diagonal().sign()
    return rotation


def fit(statistics: PriorStatistics, kind: int, groups: Sequence[Tensor], distances: Tensor) -> None:
    """Fit one kind: centered positions of each encoded group `[size, dimensions]`, and distances of centers."""
    dimensions = statistics.level.shape[1]
    logs, sizes = [], []
    for points in groups:
        covariance = points.T @ points / max(len(points) - 1, 1)
        logs.append(torch.linalg.eigvalsh(covariance.double()).flip(0).clamp(min=1e-4).log())
        sizes.append(float(len(points)))
    y, size = torch.stack(logs), torch.tensor(sizes, dtype=torch.float64).log()
    design = torch.stack([torch.ones_like(size), size], 1)
    if float(size.max() - size.min()) < 1e-6:
        design = design * torch.tensor([1.0, 0.0], dtype=torch.float64)
    solution = torch.linalg.pinv(design) @ y
    residual = y - design @ solution
    covariance = residual.T @ residual / len(y) + 1e-6 * torch.eye(dimensions, dtype=torch.float64)
    statistics.level[kind] = solution[0].float()
    statistics.slope[kind] = solution[1].float()
    statistics.spread[kind] = torch.linalg.cholesky(covariance).float()
    if len(distances):
        statistics.distance[kind] = torch.stack([distances.mean(), distances.std()]).float()
