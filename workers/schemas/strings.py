"""What requests to string models share: SMILES in, SMILES out. No family of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from workers.problems import Validation
from workers.schemas.base import InputRequest, Limits, Table
from workers.schemas.generation import CandidateFilters, CandidateRequest

if TYPE_CHECKING:
    from workers.cards import Card

Texts = tuple[Literal["sdf", "xyz", "smi"], ...]

STRINGS = Table(
    "molecules.csv",
    (
        "index", "accepted", "title", "smiles", "string", "inchikey", "formula", "n_atoms", "n_tokens", "valid",
        "connected", "bits", "log_likelihood", "standard_error", "kind", "reasons",
    ),
)  # fmt: skip
STRING_SCORES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "string", "n_tokens", "bits", "bits_standard_error", "bits_per_token",
        "log_likelihood", "standard_error", "kind", "draws", "reasons",
    ),
)  # fmt: skip


class StringRequest(InputRequest):
    """A request that brings molecules to a string model, in any format; the worker reads their SMILES."""

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (STRINGS,)

    canonical: bool = Field(
        default=True,
        description="Rewrite each SMILES in RDKit's canonical form first, which the models were trained on; "
        "false takes SMILES as they are written.",
    )


class StringSampleRequest(CandidateRequest[CandidateFilters]):
    """Draw new molecules as SMILES."""

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (STRINGS,)

    n_tokens: int | tuple[int, int] | None = Field(
        default=None,
        description="Length in tokens, or the least and the most; by default drawn as in the training data.",
    )
    filters: CandidateFilters = CandidateFilters()

    @property
    def length_bounds(self) -> tuple[int, int] | None:
        """The least and the most tokens asked for; None: as in the data."""
        if self.n_tokens is None:
            return None
        return (self.n_tokens, self.n_tokens) if isinstance(self.n_tokens, int) else self.n_tokens

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        bounds, longest = self.length_bounds, longest_of(card)
        if bounds is not None and not 1 <= bounds[0] <= bounds[1] <= longest:
            raise Validation(
                f"model {card.id} writes strings of 1 to {longest} tokens; n_tokens asks for {self.n_tokens}",
                errors=[{"pointer": "/n_tokens", "detail": f"must lie in 1..{longest}, the least first"}],
            )


def longest_of(card: Card) -> int:
    """The longest string that a model knows, in tokens."""
    return int(card.config["longest"])
