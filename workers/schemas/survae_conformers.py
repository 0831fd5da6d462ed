"""Requests to densities of bond lengths: score the geometry of molecules, draw lengths for their bonds."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from workers.schemas.base import MOLECULES, InputRequest, JobRequest, Table

LENGTHS = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "n_atoms", "n_bonds", "log_likelihood", "log_likelihood_per_bond",
        "standard_error", "kind", "percentile", "in_domain", "family_p_value", "most_surprising.atoms",
        "most_surprising.bond", "most_surprising.length", "most_surprising.expected", "most_surprising.p_value",
        "reasons",
    ),
)  # fmt: skip

SETS = Table(
    "molecules.csv",
    ("index", "title", "smiles", "formula", "n_atoms", "n_bonds", "bonds", "samples", "in_domain", "reasons"),
)


class ScoreRequest(InputRequest):
    """log p(bond lengths | kinds of the bonds), exact, and which bond is odd given all others.

    The lengths of a molecule are an unordered set: the order of its atoms and bonds does not matter. SMILES have
    coordinates made for them, whose lengths are not those of the quantum-chemical geometries that the model learned.
    """

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, LENGTHS)
    in_brief: ClassVar[dict[str, Any]] = {"bonds": False}

    bonds: bool = Field(
        default=True, description="Also every bond given all others, which takes most of the time."
    )

    def evaluations_per_item(self) -> int:
        return 100 if self.bonds else 1


class SampleRequest(InputRequest):
    """Draw sets of lengths for the bonds of molecules, all bonds of a molecule together.

    Only the kinds of the bonds are looked at; coordinates that come with the molecules are not.
    """

    tables: ClassVar[tuple[Table, ...]] = (SETS,)

    draws: int = Field(default=16, ge=1, le=1000, description="Sets for every molecule.")

    def evaluations_per_item(self) -> int:
        return self.draws


CAPABILITIES: dict[str, type[JobRequest]] = {"score": ScoreRequest, "sample": SampleRequest}
