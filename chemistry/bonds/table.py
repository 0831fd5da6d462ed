"""The published bond length table and valences, as arrays indexed by atomic number.

A pair is bonded when its distance is below the typical single bond length plus 10 pm, double below the double
bond length plus 5 pm, triple below the triple bond length plus 3 pm. Pairs without an entry never bond.
References: Hoogeboom et al., Equivariant Diffusion for Molecule Generation in 3D (2022), appendix;
Satorras et al., E(n) Equivariant Normalizing Flows (2021), https://arxiv.org/abs/2105.09016
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from chemistry.elements import number_of

MARGINS_PM = (10.0, 5.0, 3.0)
"""Added to the typical lengths of single, double and triple bonds."""

_SINGLE_QM9 = (
    "H-H 74 H-C 109 H-N 101 H-O 96 H-F 92 C-C 154 C-N 147 C-O 143 C-F 135 N-N 145 N-O 140 N-F 136 "
    "O-O 148 O-F 142 F-F 142"
)
_SINGLE_GEOM = (
    "H-B 119 H-Si 148 H-P 144 H-As 152 H-S 134 H-Cl 127 H-Br 141 H-I 161 "
    "C-Si 185 C-P 184 C-S 182 C-Cl 177 C-Br 194 C-I 214 N-Cl 175 N-Br 214 N-S 168 N-I 222 N-P 177 "
    "O-Br 172 O-S 151 O-P 163 O-Si 163 O-Cl 164 O-I 194 F-S 158 F-Si 160 F-Cl 166 F-Br 178 F-P 156 F-I 187 "
    "B-Cl 175 Si-Si 233 Si-S 200 Si-Cl 202 Si-Br 215 Si-I 243 Cl-Cl 199 Cl-P 203 Cl-S 207 Cl-Br 214 "
    "S-S 204 S-Br 225 S-P 210 S-I 234 Br-Br 228 Br-P 222 P-P 221 I-I 266"
)
_DOUBLE = "C-C 134 C-N 129 C-O 120 N-N 125 N-O 121 O-O 121 C-S 160 O-P 150 P-S 186"
_TRIPLE = "C-C 120 C-N 116 C-O 113 N-N 110"

_SIZE = 119  # one past the last atomic number

_VALENCES = "H:1 C:4 N:3 O:2 F:1 B:3 Al:3 Si:4 P:3,5 S:4 Cl:1 As:3 Br:1 I:1 Hg:1,2 Bi:3,5"
VALENCES: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        number_of(symbol): frozenset(int(valence) for valence in valences.split(","))
        for symbol, valences in (entry.split(":") for entry in _VALENCES.split())
    }
)
"""Allowed sums of bond orders of each element, as published: sulfur must be exactly 4."""


def _thresholds(entries: str, margin: float) -> NDArray[np.float64]:
    """Largest distance in Angstrom for every pair [119, 119]; zero where the table has no entry."""
    words = entries.split()
    table = np.zeros((_SIZE, _SIZE))
    for pair, length in zip(words[::2], words[1::2], strict=True):
        first, second = (number_of(symbol) for symbol in pair.split("-"))
        table[first, second] = table[second, first] = (float(length) + margin) / 100
    table.setflags(write=False)
    return table


SINGLE = _thresholds(f"{_SINGLE_QM9} {_SINGLE_GEOM}", MARGINS_PM[0])
DOUBLE = _thresholds(_DOUBLE, MARGINS_PM[1])
TRIPLE = _thresholds(_TRIPLE, MARGINS_PM[2])

MAX_ORDER_SUM = 64
"""Order sums are looked up after clipping to this bound, which no allowed valence reaches."""


def _allowed() -> NDArray[np.bool_]:
    table = np.zeros((_SIZE, MAX_ORDER_SUM + 1), dtype=bool)
    for number, valences in VALENCES.items():
        table[number, sorted(valences)] = True
    table.setflags(write=False)
    return table


ALLOWED = _allowed()
"""Whether an element allows a sum of bond orders, bool [119, 65]."""
