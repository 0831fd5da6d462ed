"""Requests for log-determinants: of matrices, or of molecules' Hessians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from workers.problems import TooLarge
from workers.schemas.base import MOLECULES, JobRequest, Limits, Table
from workers.schemas.molecules import Molecules

if TYPE_CHECKING:
    from workers.cards import Card

Method = Literal["exact", "vde", "naive", "lanczos"]
METHODS: tuple[Method, ...] = ("exact", "vde", "naive", "lanczos")
MOST_ROWS = 256
MOST_NUMBERS = 65_536
Row = Annotated[list[FiniteFloat], Field(min_length=1, max_length=MOST_ROWS)]
Matrix = Annotated[list[Row], Field(min_length=1, max_length=MOST_ROWS)]

LOGDETS = Table(
    "logdet.csv",
    (
        "index", "title", "source", "size", "form", "log_abs_det", "recommended",
        *(
            f"methods.{method}.{part}"
            for method in METHODS
            for part in ("value", "kind", "standard_error", "products", "effective_samples")
        ),
        "entropy.classical_j_mol_k", "entropy.quantum_j_mol_k", "reasons",
    ),
)  # fmt: skip


class LogdetRequest(JobRequest):
    """log|det| of square matrices, or of the mass-weighted Hessians of molecules without their rigid motions.

    Give either `matrices` or `molecules`. Nothing is trained ahead: the proposal of the VDE is fitted to each matrix.
    """

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, LOGDETS)

    matrices: list[Matrix] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description=f"Square matrices, row by row; at most {MOST_ROWS} rows, {MOST_NUMBERS} numbers in all.",
    )
    molecules: Molecules | None = Field(default=None, description="Molecules, whose Hessian is computed.")
    methods: list[Method] = Field(
        default=["exact", "vde"],
        min_length=1,
        max_length=4,
        description="exact: Cholesky or LU; vde: a fitted spherical flow; naive: uniform samples; lanczos.",
    )
    form: Literal["auto", "general", "spd"] = Field(
        default="auto",
        description="spd: symmetric positive definite, where half the spread of weights suffices.",
    )
    samples: int = Field(default=2000, ge=100, le=100_000, description="Samples of vde and naive.")
    training_steps: int = Field(default=200, ge=0, le=2000, description="Steps of fitting the flow.")
    batch: int = Field(default=128, ge=8, le=1024, description="Products that a step of fitting takes.")
    probes: int = Field(default=30, ge=2, le=1000, description="Random probes of lanczos.")
    lanczos_steps: int = Field(default=30, ge=1, le=256, description="Products that a probe takes.")
    energy: Literal["mmff", "xtb"] = Field(
        default="mmff", description="The molecule's energy: MMFF94, or GFN2-xTB where the server has tblite."
    )
    temperature: float = Field(default=298.15, gt=0, le=10_000, description="Kelvin, for the entropies.")
    isotopes: dict[str, Annotated[int, Field(ge=1, le=300)]] | None = Field(
        default=None,
        max_length=64,
        description="Another isotopologue to compare with: mass numbers by element or atom, {'H': 2, '0': 13}.",
    )

    @field_validator("matrices")
    @classmethod
    def _square(cls, matrices: list[Matrix] | None) -> list[Matrix] | None:
        for number, matrix in enumerate(matrices or ()):
            for row, values in enumerate(matrix):
                if len(values) != len(matrix):
                    raise ValueError(
                        f"matrix {number} is not square: it has {len(matrix)} rows, but row {row} has "
                        f"{len(values)} numbers"
                    )
        return matrices

    @model_validator(mode="after")
    def _one_source(self) -> LogdetRequest:
        if (self.matrices is None) == (self.molecules is None):
            raise ValueError("give either matrices or molecules")
        if self.matrices is not None and self.isotopes is not None:
            raise ValueError("isotopes belong to molecules, not to matrices")
        return self

    @property
    def input(self) -> Molecules | None:
        return self.molecules

    def item_count(self) -> int:
        return len(self.matrices or ())

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        numbers = sum(len(matrix) ** 2 for matrix in self.matrices or ())
        if numbers > MOST_NUMBERS:
            raise TooLarge(
                f"the matrices have {numbers} numbers; one request may have {MOST_NUMBERS}. Larger matrices fit "
                "models.vde in Python, which takes products only"
            )


CAPABILITIES: dict[str, type[JobRequest]] = {"logdet": LogdetRequest}
"""One capability."""
