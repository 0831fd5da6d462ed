"""Exact conditionals of one graph: behind the monotone maps the density is Gaussian with a known precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.convexp.model import Given


@dataclass(frozen=True)
class LeaveOneOut:
    """Every value given all others, `[n]` each: log-density, median, central 90 % interval, two-sided p-value."""

    log_density: Tensor
    expected: Tensor
    low: Tensor
    high: Tensor
    p_value: Tensor


class Conditionals:
    """The density of the values of one graph (a batch of one, in float64)."""

    def __init__(self, given: Given) -> None:
        self.given = given
        n = len(given.mean)
        self.matrix = torch.eye(n, dtype=given.mean.dtype)
        for k in range(given.a.shape[1]):
            columns = [given.product(k, column) for column in torch.eye(n, dtype=given.mean.dtype)]
            self.matrix = torch.linalg.matrix_exp(torch.stack(columns, 1)) @ self.matrix
        self.precision = self.matrix.T @ self.matrix

    def leave_one_out(self, x: Tensor) -> LeaveOneOut:
        """How surprising every value is, given the graph and the other values."""
        u, slope = self.given.to_normal(x)
        spread = self.precision.diagonal().rsqrt()
        middle = u - (self.precision @ u) * spread.square()
        t = (u - middle) / spread
        log_density = slope - 0.5 * t.square() - spread.log() - 0.5 * math.log(2 * math.pi)
        low, high = (self.given.to_values(middle + z * spread) for z in (-1.6449, 1.6449))
        p_value = torch.erfc(t.abs() / math.sqrt(2))
        return LeaveOneOut(log_density, self.given.to_values(middle), low, high, p_value)

    def log_prob_of_many(self, values: Tensor) -> Tensor:
        """log p of each row of `values` `[m, n]`, on this one graph."""
        rows = [self.given.to_normal(x) for x in values]
        u, slope = torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows])
        z = u @ self.matrix.T
        n = values.shape[1]
        constant = self.given.trace().sum() - 0.5 * n * math.log(2 * math.pi)
        out: Tensor = slope.sum(1) - 0.5 * z.square().sum(1) + constant
        return out

    def best_swap(self, x: Tensor) -> tuple[int, int, float]:
        """The two nodes whose values, exchanged, raise log p the most, and by how much (negative: none does).

        A swap changes two entries of u and two slopes, so all of them together cost n^2 numbers and one product.
        """
        n = len(x)
        u, slope = zip(*(self.given.to_normal(x.roll(k)) for k in range(n)), strict=True)
        columns = torch.arange(n)
        # moved[i, j] is g_i(x_j): row k of the stack holds x_(i-k) at node i
        shift = (columns[:, None] - columns) % n
        moved, slopes = torch.stack(u)[shift, columns[:, None]], torch.stack(slope)[shift, columns[:, None]]
        own, own_slope = moved.diagonal(), slopes.diagonal()
        change = moved - own[:, None]  # of u_i when x_j comes to node i
        gain = slopes - own_slope[:, None]
        force, p = self.precision @ own, self.precision
        quadratic = change * force[:, None] + 0.5 * change.square() * p.diagonal()[:, None]
        total = gain + gain.T - quadratic - quadratic.T - change * change.T * p
        total = total.masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)
        place = int(total.argmax())
        i, j = sorted((place // n, place % n))
        return i, j, float(total.max())

    def complete(self, x: Tensor, missing: Tensor, generator: torch.Generator, draws: int) -> Completion:
        """Values where `missing` is true (`x` is not looked at there), given the graph and the other values."""
        u = self.given.to_normal(torch.where(missing, self.given.mean, x))[0]
        p = self.precision[missing][:, missing]
        factor = torch.linalg.cholesky(p)
        middle = u.new_zeros(len(u))
        pull = self.precision[missing][:, ~missing] @ u[~missing]
        middle[missing] = -torch.cholesky_solve(pull[:, None], factor)[:, 0]
        spread = u.new_zeros(len(u))
        spread[missing] = torch.cholesky_inverse(factor).diagonal().sqrt()
        noise = torch.randn(draws, int(missing.sum()), generator=generator, dtype=u.dtype)
        drawn = torch.linalg.solve_triangular(factor.T, noise.T, upper=True).T
        samples = []
        for row in drawn:
            full = middle.clone()
            full[missing] += row
            samples.append(torch.where(missing, self.given.to_values(full), x))
        low, median, high = (self.given.to_values(middle + z * spread) for z in (-1.6449, 0.0, 1.6449))
        return Completion(torch.stack(samples), median, low, high)


@dataclass(frozen=True)
class Completion:
    """Joint draws `[draws, n]`, and of every missing value the median and the central 90 % interval, `[n]`."""

    samples: Tensor
    median: Tensor
    low: Tensor
    high: Tensor
