"""What requests to string models share: SMILES in, SMILES out. No family of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator

from models.strings.templates import Template
from models.strings.tokens import TokenError, Vocabulary
from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits, Table
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

INFILLED = Table(
    "molecules.csv",
    (
        "index", "accepted", "template", "smiles", "string", "filled", "probability", "log_likelihood", "valid",
        "connected", "reasons",
    ),
)  # fmt: skip


class StringRequest(InputRequest):
    """A request that brings molecules to a string model, in any format; the worker reads their SMILES."""

    reads: ClassVar[tuple[str, ...]] = ("sdf", "smi", "xyz")
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


class StringInfillRequest(JobRequest):
    """Complete molecules of which parts are given: decorate scaffolds, link fragments, list R-groups.

    In a template `?` is one unknown token, `{3}` three of them, `{2-6}` two to six, and `*` a gap of `gap_tokens`;
    attachment points such as `[*:1]` are `*` too. All else is kept. The whole length is drawn as in the data, as
    far as the gaps allow it, and every division of it among the gaps is alike likely.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (INFILLED,)

    templates: list[Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^\S+$")]] = (
        Field(min_length=1, max_length=1000, description="SMILES with gaps: `?`, `{2-6}`, `*`.")
    )
    n_completions: int = Field(default=8, ge=1, le=1000, description="Completions of each template.")
    gap_tokens: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1, le=1000)]] = Field(
        default=(1, 20), description="Tokens that a `*` holds at least and at most."
    )
    filters: CandidateFilters = CandidateFilters()

    @field_validator("gap_tokens")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError(f"{value[0]} to {value[1]}: the least is more than the most")
        return value

    def item_count(self) -> int:
        return len(self.templates) * self.n_completions

    @property
    def unique_only(self) -> bool:
        return self.filters.unique

    @property
    def effective_filters(self) -> CandidateFilters:
        """Named as those of requests that draw until enough pass."""
        return self.filters

    def number(self, index: int) -> int:
        """The template that item `index` completes."""
        return index // self.n_completions

    def parsed(self, vocabulary: Vocabulary, longest: int) -> list[Template]:
        """The templates as a model reads them. Raises Validation that points at every one that it cannot complete."""
        found, errors = [], []
        for number, text in enumerate(self.templates):
            try:
                found.append(Template.parse(text, vocabulary, longest, self.gap_tokens))
            except TokenError as error:
                errors.append((number, {"pointer": f"/templates/{number}", "detail": str(error)}))
        if errors:
            number, first = errors[0]
            raise Validation(
                f"template {self.templates[number]!r}: {first['detail']}", errors=[one for _, one in errors]
            )
        return found

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        self.parsed(Vocabulary(card.config["tokens"]), longest_of(card))


def longest_of(card: Card) -> int:
    """The longest string that a model knows, in tokens."""
    return int(card.config["longest"])
