"""What requests to string models share: SMILES in, SMILES out. No family of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits, Table

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


class StringFilters(BaseModel):
    """Which molecules are accepted into the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    valid: bool = Field(default=False, description="RDKit reads the SMILES.")
    connected: bool = Field(default=False, description="One fragment.")
    unique: bool = Field(default=False, description="The first of equal canonical SMILES.")


class StringSampleRequest(JobRequest):
    """Draw new molecules as SMILES."""

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (STRINGS,)

    n_molecules: int = Field(default=16, ge=1, le=10_000)
    n_tokens: int | tuple[int, int] | None = Field(
        default=None,
        description="Length in tokens, or the least and the most; by default drawn as in the training data.",
    )
    filters: StringFilters = StringFilters()
    until_valid: bool = Field(
        default=False,
        description="Go on with further candidates until n_molecules pass the filters (valid at least).",
    )
    max_attempts: int | None = Field(
        default=None, ge=1, le=100_000, description="Candidates tried at most; default 10 n_molecules."
    )

    def item_count(self) -> int:
        return self.n_molecules

    @property
    def effective_filters(self) -> StringFilters:
        """The filters, with valid switched on by until_valid."""
        return self.filters.model_copy(update={"valid": True}) if self.until_valid else self.filters

    @property
    def accept_limit(self) -> int | None:
        return self.n_molecules

    @property
    def candidate_limit(self) -> int | None:
        if not self.until_valid:
            return None
        return max(self.n_molecules, self.max_attempts or 10 * self.n_molecules)

    @property
    def unique_only(self) -> bool:
        return self.filters.unique

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
