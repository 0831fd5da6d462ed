"""What the network learns, and how the properties follow from it.

Some properties are sums of others: the gap is LUMO - HOMO; U, H and G differ from U0 by small thermal terms. The
network learns independent components, so that its answers fit together and a small difference is not lost
between two large numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.core.errors import ConfigError

PROPERTIES = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv")

UNITS = {
    "mu": "debye", "alpha": "bohr^3", "homo": "eV", "lumo": "eV", "gap": "eV", "r2": "bohr^2", "zpve": "meV",
    "u0": "eV", "u": "eV", "h": "eV", "g": "eV", "cv": "cal/(mol K)",
}  # fmt: skip

TITLES = {
    "mu": "dipole moment", "alpha": "isotropic polarizability", "homo": "energy of the highest occupied orbital",
    "lumo": "energy of the lowest unoccupied orbital", "gap": "LUMO minus HOMO", "r2": "electronic spatial extent",
    "zpve": "zero-point vibrational energy", "u0": "internal energy at 0 K, minus free atoms",
    "u": "internal energy at 298.15 K, minus free atoms", "h": "enthalpy at 298.15 K, minus free atoms",
    "g": "Gibbs energy at 298.15 K, minus free atoms",
    "cv": "heat capacity at 298.15 K and constant volume, minus 2.981 for each atom",
}  # fmt: skip

COMPONENTS = ("mu", "alpha", "homo", "lumo", "r2", "zpve", "u0", "u-u0", "h-u", "g-h", "cv")
"""Learned quantities; "a-b" is the difference of two properties."""

SUMS: Mapping[str, Mapping[str, float]] = {
    "gap": {"lumo": 1.0, "homo": -1.0},
    "u": {"u0": 1.0, "u-u0": 1.0},
    "h": {"u0": 1.0, "u-u0": 1.0, "h-u": 1.0},
    "g": {"u0": 1.0, "u-u0": 1.0, "h-u": 1.0, "g-h": 1.0},
}


def composition(properties: Sequence[str], components: Sequence[str]) -> list[list[float]]:
    """The matrix `[properties, components]` that makes properties of components.

    Raises ConfigError when a property cannot be made.
    """
    rows = []
    for name in properties:
        parts = {name: 1.0} if name in components else SUMS.get(name, {})
        if not parts or set(parts) - set(components):
            raise ConfigError(f"property {name!r} cannot be made of {', '.join(components)}.")
        rows.append([parts.get(component, 0.0) for component in components])
    return rows


def difference(component: str) -> dict[str, float]:
    """A component in terms of properties, as signed terms.

    >>> difference("u-u0")
    {'u': 1.0, 'u0': -1.0}
    """
    plus, _, minus = component.partition("-")
    return {plus: 1.0} | ({minus: -1.0} if minus else {})
