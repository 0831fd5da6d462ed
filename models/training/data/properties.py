"""Molecules with the twelve QM9 properties in published units, in size buckets ("qm9-properties")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from chemistry.datasets import MoleculeDataset, Split, load_dataset
from chemistry.datasets.qm9_targets import published_target
from models.egnn_properties.composition import PROPERTIES, UNITS, difference
from models.training.data.buckets import SizeBuckets
from models.training.data.molecules import MoleculeData

FIXED = {"h-u": "the pressure-volume term of an ideal gas"}
"""Components that are linear in the numbers of atoms by definition: nothing is left to learn."""


def load(name: str, split: Split) -> PropertyData:
    """A split of QM9 with its properties; `name` is the molecules' name and "-properties". Raises DatasetError."""
    return PropertyData(load_dataset(name.removesuffix("-properties"), split))


class PropertyData(MoleculeData):
    """Batches with `z`, `pos` and `y` `[b, 12]`, the properties in `PROPERTIES` order and published units."""

    @cached_property
    def targets(self) -> NDArray[np.float64]:
        """All properties of all molecules, `[n, 12]`."""
        return np.stack([published_target(self.molecules, name) for name in PROPERTIES], 1)

    def batches(
        self, bucket: int, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ) -> Iterator[Any]:
        buckets = SizeBuckets(
            self.molecules.sizes, bucket, seed, start=start, process=process, processes=processes
        )
        for rows in buckets:
            yield self.batch(rows)

    def batch(self, rows: Sequence[int]) -> Any:
        """Molecules `rows`, all of one size, as a torch-geometric Batch."""
        n = int(self.molecules.sizes[rows[0]])
        atoms = np.asarray(self.molecules.offsets)[rows][:, None] + np.arange(n)
        return Batch(
            z=torch.from_numpy(self.molecules.numbers[atoms].astype(np.int64).reshape(-1)),
            pos=torch.from_numpy(np.asarray(self.molecules.positions[atoms], np.float32).reshape(-1, 3)),
            y=torch.from_numpy(self.targets[rows].astype(np.float32)),
            batch=torch.arange(len(rows)).repeat_interleave(n),
            ptr=torch.arange(len(rows) + 1) * n,
        )

    def cheap_model(self, components: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Least squares of every component on the atom counts (and R2 also on the nuclear second moment).

        The scale is the mean absolute residual, the unit in which the network speaks.
        """
        features = cheap_features(self.molecules)
        out: dict[str, dict[str, Any]] = {}
        for name in components:
            terms = difference(name)
            values = sum(sign * self.targets[:, PROPERTIES.index(part)] for part, sign in terms.items())
            fitted: NDArray[Any]
            if name == "mu":  # a length: nothing but the network's dipole goes into it
                fitted = np.zeros(features.shape[1])
            else:
                used = features if name == "r2" else features[:, :-1]
                fitted, *_ = np.linalg.lstsq(used, values, rcond=None)
            coefficients = np.zeros(features.shape[1])
            coefficients[: len(fitted)] = fitted
            residual = float(np.abs(values - features @ coefficients).mean())
            out[name] = {
                "counts": coefficients[:-2].tolist(), "constant": float(coefficients[-2]),
                "moment": float(coefficients[-1]), "scale": 0.0 if name in FIXED else residual,
            }  # fmt: skip
        return out

    def card(self) -> dict[str, Any]:
        return {**super().card(), "properties": [{"name": name, "unit": UNITS[name]} for name in PROPERTIES]}


def cheap_features(molecules: MoleculeDataset) -> NDArray[np.float64]:
    """Counts of each element, 1, and the nuclear second moment in Angstrom^2: `[molecules, elements + 2]`."""
    counts = atom_counts(molecules)
    z, x = np.asarray(molecules.numbers, np.float64), np.asarray(molecules.positions, np.float64)
    owner = np.repeat(np.arange(len(molecules)), molecules.sizes)
    charge = np.bincount(owner, z)
    center = np.stack([np.bincount(owner, z * x[:, k]) for k in range(3)], 1) / charge[:, None]
    moment = np.bincount(owner, z * np.square(x - center[owner]).sum(1))
    return np.column_stack([counts, np.ones(len(molecules)), moment])


def atom_counts(molecules: MoleculeDataset) -> NDArray[np.float64]:
    """Atoms of each element, `[molecules, elements]`."""
    starts, numbers = np.asarray(molecules.offsets)[:-1], np.asarray(molecules.numbers)
    return np.stack(
        [np.add.reduceat((numbers == z).astype(np.float64), starts) for z in molecules.elements], 1
    )
