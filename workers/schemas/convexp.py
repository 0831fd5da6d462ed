"""Requests to densities on molecular graphs: score partial charges, complete missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, FiniteFloat

from workers.schemas.base import MOLECULES, InputRequest, JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

Charge = Annotated[FiniteFloat, Field(ge=-10, le=10)]

CHARGES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "n_atoms", "log_likelihood", "log_likelihood_per_atom", "baseline", "kind",
        "charges_from", "most_surprising.atom", "most_surprising.p_value", "best_swap.atoms", "best_swap.gain",
        "in_domain", "reasons",
    ),
)  # fmt: skip


class ScoreRequest(InputRequest):
    """log p(charges | molecular graph), atom by atom, and which atom's charge is wrong.

    Without `charges` those of electronegativity equalization are computed from the geometry, the kind that the model
    learned; charges of another kind (Mulliken, Gasteiger) are outside of its domain.
    """

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, CHARGES)

    charges: list[list[Charge]] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="Partial charges in e, a list for every molecule in the order of its atoms, hydrogens included.",
    )

    def evaluations_per_item(self) -> int:
        return 1

    def check_model(self, card: Card, limits: Limits) -> None:
        """Lengths are compared with the molecules once these are read."""


class CompleteRequest(InputRequest):
    """Fill in missing charges (null), given the molecular graph and the others: exact conditional draws."""

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES,)

    charges: list[list[Charge | None]] = Field(
        min_length=1,
        max_length=10_000,
        description="Charges in e with null where they are missing, a list for every molecule.",
    )
    draws: int = Field(default=1, ge=1, le=100, description="Joint draws of the missing charges.")

    def evaluations_per_item(self) -> int:
        return 1


CAPABILITIES: dict[str, type[JobRequest]] = {"score": ScoreRequest, "complete": CompleteRequest}
"""Scores and completions."""
