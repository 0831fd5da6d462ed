"""Bonds from distances alone, by the published table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemistry.bonds.table import ALLOWED, DOUBLE, MAX_ORDER_SUM, SINGLE, TRIPLE
from chemistry.structure import Bond


@dataclass(frozen=True, eq=False)
class DistanceBonds:
    """Bonds i < j with orders 1 to 3, int64 [m] each; stable bool [n] says whose orders sum to a valence."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    order: NDArray[np.int64]
    stable: NDArray[np.bool_]

    @property
    def bonds(self) -> tuple[Bond, ...]:
        columns = self.begin.tolist(), self.end.tolist(), self.order.tolist()
        return tuple(Bond(begin, end, float(order)) for begin, end, order in zip(*columns, strict=True))


def distances(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """All pair distances, float64 [n, n], in Angstrom."""
    exact = np.asarray(positions, dtype=np.float64)
    difference = exact[:, None, :] - exact[None, :, :]
    length: NDArray[np.float64] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    return length


def distance_bonds(numbers: NDArray[np.integer], positions: NDArray[np.floating]) -> DistanceBonds:
    """Perceive bonds of numbers [n] at positions [n, 3]; stable atoms have orders that sum to a valence."""
    pairs = np.ix_(numbers, numbers)
    length = distances(positions)
    order = (length < SINGLE[pairs]).astype(np.int64)
    # Each order is granted only where the one below it is.
    order += (order == 1) & (length < DOUBLE[pairs])
    order += (order == 2) & (length < TRIPLE[pairs])
    np.fill_diagonal(order, 0)
    stable = ALLOWED[numbers, np.minimum(order.sum(axis=1), MAX_ORDER_SUM)]
    begin, end = np.nonzero(np.triu(order, k=1))
    return DistanceBonds(begin, end, order[begin, end], stable)
