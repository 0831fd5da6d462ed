"""Requests to equivariant diffusion models: sample and score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.problems import TooLarge, Validation
from workers.schemas.base import MOLECULES, SCORES, InputRequest, JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

FLOW_STEPS = 50
"""Steps of the probability flow; each takes two differentiated network calls."""

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


class Filters(BaseModel):
    """Which molecules are accepted into the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    valid: bool = Field(default=False, description="RDKit accepts it with the chosen bond rule.")
    connected: bool = Field(default=False, description="One fragment.")
    stable: bool = Field(default=False, description="Every atom has an allowed valence.")
    unique: bool = Field(default=False, description="The first of equal canonical SMILES.")


class SampleRequest(JobRequest):
    """Draw new molecules."""

    n_molecules: int = Field(default=16, ge=1, le=10_000)
    n_atoms: (
        Literal["data"] | Size | SizeRange | Annotated[list[Size], Field(min_length=1, max_length=10_000)]
    ) = Field(
        default="data",
        description="'data' draws sizes as in the training data; a number fixes them; a range bounds them; "
        "a list is used in turn. Hydrogen atoms count.",
    )
    steps: int = Field(default=100, ge=2, le=5_000, description="Network evaluations per molecule.")
    sampler: Literal["stochastic", "heun", "deterministic", "ancestral"] = "stochastic"
    churn: float | None = Field(
        default=None, ge=0, le=4, description="Noise put back by the stochastic sampler."
    )
    bond_rule: Literal["distance", "rdkit"] = "distance"
    filters: Filters = Filters()
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
    keep_trajectory: int = Field(
        default=0, ge=0, le=200, description="Frames kept of every molecule's generation."
    )

    def item_count(self) -> int:
        return self.n_molecules

    def evaluations_per_item(self) -> int:
        return self.steps

    @property
    def effective_filters(self) -> Filters:
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
        if self.keep_trajectory and self.n_molecules * self.keep_trajectory > 20_000:
            raise TooLarge("n_molecules times keep_trajectory must not exceed 20000; keep fewer frames")


class ScoreRequest(InputRequest):
    """Log-likelihood of given molecules under the model, in nats, with a standard error."""

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, SCORES)

    method: Literal["bound", "probability-flow"] = Field(
        default="bound",
        description="A lower bound, or an estimate by the probability flow (dearer and closer).",
    )
    draws: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description="Random draws per molecule; default 32 for the bound, else 4.",
    )

    @property
    def effective_draws(self) -> int:
        """The draws asked for, or the method's default."""
        return self.draws or (32 if self.method == "bound" else 4)

    def evaluations_per_item(self) -> int:
        draws = self.effective_draws
        if self.method == "bound":  # one call a draw, and some for the last noise level
            return draws + max(min(draws, 2), draws // 8)
        return draws * 2 * FLOW_STEPS


CAPABILITIES: dict[str, type[JobRequest]] = {"sample": SampleRequest, "score": ScoreRequest}
