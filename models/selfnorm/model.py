"""A density of vectors: standardized, then dense self-normalizing layers with smooth activations between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from models.core.errors import ConfigError, ShapeError
from models.core.random import generator
from models.selfnorm.activations import SmoothLeaky
from models.selfnorm.dense import SelfNormLinear
from models.survae.conditionals import normal_log_prob

KNOWN = {"names", "center", "scale", "width", "layers", "slope"}


class Score(NamedTuple):
    """log p in nats, the relative error |R W x - x| / |x| of the learned inverses, and |d log p / d x| a column."""

    log_prob: float
    inverse_error: float
    pull: list[float]


class SelfNormFlow(nn.Module):
    """log p of a vector of numbers and counts: the density of the vector spread evenly over one resolution cell.

    Trained without any determinant; scored with exact ones.
    """

    center: Tensor
    scale: Tensor
    width: Tensor
    started: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if set(config) != KNOWN:
            raise ConfigError(f"selfnorm: the configuration has {sorted(config)}, but needs {sorted(KNOWN)}.")
        self.config = dict(config)
        self.names = tuple(config["names"])
        size = len(self.names)
        for name in ("center", "scale", "width"):
            if len(config[name]) != size:
                raise ConfigError(f"selfnorm: {name} has {len(config[name])} numbers for {size} columns.")
            self.register_buffer(name, torch.tensor(config[name], dtype=torch.float32), persistent=False)
        self.linear = nn.ModuleList(SelfNormLinear(size) for _ in range(config["layers"]))
        self.activation = SmoothLeaky(config["slope"])
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @classmethod
    def config_for(cls, recipe: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """The configuration for a recipe and a data set of rows."""
        rows, width = data.rows.double(), data.widths()
        scale = (rows.var(0) + width.double().square() / 12).sqrt()  # with the spread over a cell
        return {
            "names": data.names(), "center": rows.mean(0).tolist(), "scale": scale.tolist(),
            "width": width.tolist(), "layers": recipe["layers"], "slope": recipe["slope"],
        }  # fmt: skip

    def loss(
        self, batch: Any, *, options: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The stand-in objective and the reconstruction penalty of rows `[b, columns]`.

        options: `reconstruction`, the weight of |R W x - x|^2 (1). The first is no likelihood: its log-determinants
        are zero in value and right in gradient.
        """
        x = batch.rows
        x = x + self.width * (torch.rand(x.shape, generator=generator) - 0.5)
        with torch.autocast(x.device.type, enabled=False):
            objective, again = self.objective(x)
        return {
            "loss": objective + options.get("reconstruction", 1.0) * again,
            "reconstruction": again.detach(),
        }

    def objective(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stand-in objective and the reconstruction penalty, `[b]` each."""
        h = (x - self.center) / self.scale
        if not self.started:
            self.start(h)
        total = torch.zeros(len(x))
        again = torch.zeros(len(x))
        for k, layer in enumerate(self.linear):
            h, log_det, error = layer.learn(h)  # type: ignore[operator]
            total, again = total + log_det, again + error
            if k + 1 < len(self.linear):
                h, log_slope = self.activation(h)
                total = total + log_slope
        objective: Tensor = -(normal_log_prob(h).sum(1) + total)
        return objective, again

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """The first layer whitens the first batch `[b, columns]`: descriptors are nearly dependent, and many steps
        would go into that alone.
        """
        covariance = torch.cov(h.T.double()) if len(h) > 1 else torch.eye(h.shape[1]).double()
        shrunk = 0.9 * covariance + 0.1 * torch.diag(covariance.diagonal().clamp(min=1e-3))
        values, vectors = torch.linalg.eigh(shrunk)
        layer = cast("SelfNormLinear", self.linear[0])
        layer.weight.copy_(vectors @ torch.diag(values.rsqrt()) @ vectors.T)
        layer.inverse_weight.copy_(vectors @ torch.diag(values.sqrt()) @ vectors.T)
        self.started.fill_(True)

    def latent(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Base values and exact log-determinant of rows `[b, columns]`."""
        if rows.dim() != 2 or rows.shape[1] != len(self.names):
            raise ShapeError("rows", rows.shape, f"[b, {len(self.names)}]")
        h = (rows - self.center) / self.scale
        total = -self.scale.log().sum().expand(len(rows))
        for k, layer in enumerate(self.linear):
            h, log_det = layer(h)
            total = total + log_det
            if k + 1 < len(self.linear):
                h, log_slope = self.activation(h)
                total = total + log_slope
        return h, total

    def log_prob(self, rows: Tensor) -> Tensor:
        """The exact log-density `[b]` in nats, with respect to the columns' own units."""
        h, total = self.latent(rows)
        return normal_log_prob(h).sum(1) + total

    def score(self, rows: Tensor) -> list[Score]:
        """Log-densities with the check of the learned inverse, and how strongly each column pulls."""
        with torch.enable_grad():
            x = rows.clone().requires_grad_()
            found = self.log_prob(x)
            (pull,) = torch.autograd.grad(found.sum(), x)
        with torch.no_grad():
            error = self.inverse_error(rows)
            pulled = (pull * self.scale).abs()
        return [
            Score(value, wrong, row)
            for value, wrong, row in zip(
                found.double().tolist(), error.tolist(), pulled.double().tolist(), strict=True
            )
        ]

    @torch.no_grad()
    def inverse_error(self, rows: Tensor) -> Tensor:
        """Largest |R W h - h| / |h| over the layers, `[b]`."""
        h = (rows - self.center) / self.scale
        worst = torch.zeros(len(rows))
        for k, layer in enumerate(self.linear):
            again = (h @ layer.weight.T) @ layer.inverse_weight.T  # type: ignore[operator]
            worst = torch.maximum(worst, (again - h).norm(dim=1) / h.norm(dim=1).clamp(min=1e-12))
            h = layer(h)[0]
            if k + 1 < len(self.linear):
                h = self.activation(h)[0]
        return worst

    @torch.no_grad()
    def drift(self) -> list[float]:
        """How far R W is from the identity, layer by layer."""
        return [layer.drift() for layer in self.linear]  # type: ignore[operator]

    @torch.no_grad()
    def sample(self, seeds: Sequence[int]) -> Tensor:
        """One row a seed, `[b, columns]`, by the exact inverse."""
        size = len(self.names)
        rows = [torch.randn(size, generator=generator(seed, "sample")) for seed in seeds]
        h = torch.stack(rows).to(self.center.device)
        for k, layer in reversed(list(enumerate(self.linear))):
            if k + 1 < len(self.linear):
                h = self.activation.inverse(h)
            h = layer.inverse(h)  # type: ignore[operator]
        found: Tensor = h * self.scale + self.center
        return found


def gaussian_log_prob(rows: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Log-density of a normal, the model's cheap rival."""
    factor = torch.linalg.cholesky(covariance)
    z = torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False)
    constant = factor.diagonal().log().sum() + 0.5 * len(mean) * math.log(2 * math.pi)
    value: Tensor = -0.5 * z.square().sum(0) - constant
    return value
