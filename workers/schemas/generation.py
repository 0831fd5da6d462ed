"""What all requests for new molecules share: how many, of which sizes, and which of them are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits

if TYPE_CHECKING:
    from workers.cards import Card

Size = Annotated[int, Field(ge=1, le=1000)]


class SizeRange(BaseModel):
    """Sizes drawn from the data's distribution between two bounds, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    min: Size
    max: Size

    @model_validator(mode="after")
    def _ordered(self) -> SizeRange:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")
        return self


class CandidateFilters(BaseModel):
    """Which molecules are accepted into the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    valid: bool = Field(default=False, description="RDKit accepts it, in space with the chosen bond rule.")
    connected: bool = Field(default=False, description="One fragment.")
    unique: bool = Field(default=False, description="The first of equal canonical SMILES.")


class Filters(CandidateFilters):
    """Which molecules in space are accepted into the files."""

    stable: bool = Field(default=False, description="Every atom has an allowed valence.")


F = TypeVar("F", bound=CandidateFilters)


class CandidateRequest(JobRequest, Generic[F]):
    """How many molecules are wanted, which of them are kept, and how many candidates may be tried for them."""

    n_molecules: int = Field(default=16, ge=1, le=10_000)
    filters: F
    until_valid: bool = Field(
        default=False,
        description="Go on with further candidates until n_molecules pass the filters (valid at least).",
    )
    max_attempts: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Candidates tried at most with until_valid; default 10 n_molecules.",
    )

    def item_count(self) -> int:
        return self.n_molecules

    @property
    def effective_filters(self) -> F:
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


class GenerateRequest(CandidateRequest[Filters]):
    """Draw new molecules."""

    n_atoms: (
        Literal["data"] | Size | SizeRange | Annotated[list[Size], Field(min_length=1, max_length=10_000)]
    ) = Field(
        default="data",
        description="'data' draws sizes as in the training data; a number fixes them; a range bounds them; "
        "a list is used in turn. Hydrogen atoms count.",
    )
    bond_rule: Literal["distance", "rdkit"] = "distance"
    filters: Filters = Filters()

    def fixed_sizes(self) -> list[int]:
        """The numbers that n_atoms names: none for "data", both bounds of a range."""
        if isinstance(self.n_atoms, SizeRange):
            return [self.n_atoms.min, self.n_atoms.max]
        if isinstance(self.n_atoms, list):
            return self.n_atoms
        return [self.n_atoms] if isinstance(self.n_atoms, int) else []

    def check_model(self, card: Card, limits: Limits) -> None:
        sizes = self.fixed_sizes()
        low, high = card.size_range or (1, limits.max_atoms)
        high = min(high, limits.max_atoms)
        outside = sorted({size for size in sizes if not low <= size <= high})
        if outside:
            raise Validation(
                f"model {card.id} makes molecules of {low} to {high} atoms; n_atoms asks for {outside[:5]}",
                errors=[{"pointer": "/n_atoms", "detail": f"must be between {low} and {high}"}],
            )
