"""QM9's twelve regression targets in the units that papers report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chemistry.datasets.molecules import MoleculeDataset
from chemistry.errors import DatasetError

TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv")

# The published models convert with these rounded factors; keep them so that the numbers agree.
_EV_PER_HARTREE = 27.2114
_MEV_PER_HARTREE = 27211.4
_FACTORS = {
    "homo": _EV_PER_HARTREE,
    "lumo": _EV_PER_HARTREE,
    "gap": _EV_PER_HARTREE,
    "zpve": _MEV_PER_HARTREE,
}
_FACTORS |= dict.fromkeys(("u0", "u", "h", "g"), _EV_PER_HARTREE)

# Energies of the free atoms at the same level of theory, in hartree, from the data set's own reference file;
# heat capacity of a free atom, in cal/(mol K). Order of columns: H, C, N, O, F.
_ELEMENTS = (1, 6, 7, 8, 9)
_ATOM_REFERENCES = {
    "u0": (-0.500273, -37.846772, -54.583861, -75.064579, -99.718730),
    "u": (-0.498857, -37.845355, -54.582445, -75.063163, -99.717314),
    "h": (-0.497912, -37.844411, -54.581501, -75.062219, -99.716370),
    "g": (-0.510927, -37.861317, -54.598897, -75.079532, -99.733544),
    "cv": (2.981, 2.981, 2.981, 2.981, 2.981),
}

PUBLISHED_UNITS = {
    "mu": "debye",
    "alpha": "bohr^3",
    "homo": "eV",
    "lumo": "eV",
    "gap": "eV",
    "r2": "bohr^2",
    "zpve": "meV",
    "u0": "eV",
    "u": "eV",
    "h": "eV",
    "g": "eV",
    "cv": "cal/(mol K)",
}


def published_target(data: MoleculeDataset, name: str) -> NDArray[np.float64]:
    """Target `name` of every molecule, float64 [n], in `PUBLISHED_UNITS`.

    u0, u, h, g and cv have the free atoms' values subtracted, as in the published property models.
    Raises DatasetError when `name` is not one of `TARGETS` or `data` has no such property.
    """
    if name not in TARGETS or name not in data.properties:
        raise DatasetError(f"no QM9 target {name!r} in {data.title!r}; choose one of {', '.join(TARGETS)}")
    values = np.array(data.properties[name], dtype=np.float64)
    if name in _ATOM_REFERENCES:
        reference = np.zeros(256)
        reference[list(_ELEMENTS)] = _ATOM_REFERENCES[name]
        values -= np.add.reduceat(reference[data.numbers], data.offsets[:-1])
    return values * _FACTORS.get(name, 1.0)
