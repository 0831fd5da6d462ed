"""Symbols and atomic numbers of the elements."""

from __future__ import annotations

from chemistry.errors import UnknownElementError

MAX_NUMBER = 118
SYMBOLS: tuple[str, ...] = (
    *(
        "X",
        "H",
        "He",
        "Li",
        "Be",
        "B",
        "C",
        "N",
        "O",
        "F",
        "Ne",
        "Na",
        "Mg",
        "Al",
        "Si",
        "P",
        "S",
        "Cl",
        "Ar",
    ),
    *(
        "K",
        "Ca",
        "Sc",
        "Ti",
        "V",
        "Cr",
        "Mn",
        "Fe",
        "Co",
        "Ni",
        "Cu",
        "Zn",
        "Ga",
        "Ge",
        "As",
        "Se",
        "Br",
        "Kr",
    ),
    *(
        "Rb",
        "Sr",
        "Y",
        "Zr",
        "Nb",
        "Mo",
        "Tc",
        "Ru",
        "Rh",
        "Pd",
        "Ag",
        "Cd",
        "In",
        "Sn",
        "Sb",
        "Te",
        "I",
        "Xe",
    ),
    *("Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"),
    *("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn"),
    *("Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr"),
    *("Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"),
)
"""Symbol of each atomic number; index 0 stands for no element."""

_NUMBERS = {symbol.lower(): number for number, symbol in enumerate(SYMBOLS) if number}
_NUMBERS |= {"d": 1, "t": 1}  # deuterium and tritium are hydrogen here


def symbol_of(number: int) -> str:
    """Symbol of atomic number 1 to 118. Raises UnknownElementError."""
    if not 1 <= number <= MAX_NUMBER:
        raise UnknownElementError(f"{number} is not an atomic number; wanted 1 to {MAX_NUMBER}")
    return SYMBOLS[number]


def number_of(text: str) -> int:
    """Atomic number of a symbol in any case, or of a number written out. Raises UnknownElementError.

    >>> number_of("cl"), number_of("17")
    (17, 17)
    """
    number = _NUMBERS.get(text.lower())
    if (
        number is None
        and text.isascii()
        and text.isdigit()
        and len(text) <= 3
        and 1 <= int(text) <= MAX_NUMBER
    ):
        number = int(text)
    if number is None:
        raise UnknownElementError(
            f"{text[:20]!r} is not an element; wanted a symbol such as 'C' or an atomic number"
        )
    return number
