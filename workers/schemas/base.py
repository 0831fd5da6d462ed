"""What every request shares: seed, deadline, labels, priority, and how its cost is counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from workers.records import Cost
from workers.schemas.molecules import Molecules

if TYPE_CHECKING:
    from workers.cards import Card, CardShelf

Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\w.:/@ +-]+$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Table:
    """A CSV file of a job's rows. A column is a field of the row; `a.b` is field b of the object in field a."""

    name: str
    columns: tuple[str, ...]


MOLECULES = Table(
    "molecules.csv",
    (
        "index", "accepted", "title", "smiles", "inchikey", "formula", "n_atoms", "valid", "connected", "stable",
        "log_likelihood", "standard_error", "kind", "reasons",
    ),
)  # fmt: skip
SCORES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "n_atoms", "log_likelihood", "standard_error", "kind", "draws", "reasons",
    ),
)  # fmt: skip


class Limits(Protocol):
    """The part of Settings that a request is checked against."""

    @property
    def max_molecules(self) -> int: ...
    @property
    def max_atoms(self) -> int: ...
    @property
    def max_input_bytes(self) -> int: ...
    @property
    def max_job_evaluations(self) -> int: ...


class JobRequest(BaseModel):
    """The base of all requests. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    needs_model: ClassVar[bool] = True
    default_queue: ClassVar[Literal["interactive", "batch", "cpu"] | None] = None  # None: by size

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES,)  # the CSV files of the job
    texts: ClassVar[tuple[Literal["sdf", "xyz", "smi"], ...]] = ("sdf", "xyz", "smi")  # the molecules.* files
    reads: ClassVar[tuple[str, ...]] = ("xyz", "sdf", "smi")  # of a finished job, the best file first
    product: ClassVar[str | None] = None  # a file of the request's own, made by `produce`
    listing: ClassVar[str | None] = None  # a JSON file with all rows as they are

    seed: Seed | None = Field(
        default=None, description="Same seed, same result. Without one the service draws a seed and tells it."
    )
    deadline_seconds: float | None = Field(
        default=None,
        gt=0,
        le=30 * 86_400,
        description="The job expires when it has not ended so many seconds after it was accepted.",
    )
    labels: dict[Label, Label] = Field(
        default_factory=dict, max_length=16, description="Your own names and values, to find the job again."
    )
    priority: Literal["interactive", "batch"] | None = Field(
        default=None, description="The queue; by default small jobs are interactive and large ones batch."
    )

    def item_count(self) -> int:
        """How many items (molecules) the job starts with; jobs with input count their records."""
        raise NotImplementedError

    def evaluations_per_item(self) -> int:
        """Network calls that one molecule takes; 0 for work without a network."""
        return 0

    def cost(self, items: int | None = None) -> Cost:
        """What the job takes from the queue's bounds; `items` for jobs whose input has been counted."""
        count = self.item_count() if items is None else items
        return Cost(molecules=count, evaluations=count * self.evaluations_per_item())

    @property
    def input(self) -> Molecules | None:
        """The molecules that the request brings, if any."""
        return None

    @property
    def accept_limit(self) -> int | None:
        """How many molecules the files hold at most; None: all that pass."""
        return None

    @property
    def candidate_limit(self) -> int | None:
        """How many candidates may be computed when too few pass; None: the job never asks for more."""
        return None

    @property
    def unique_only(self) -> bool:
        """Whether only the first of equal SMILES is accepted."""
        return False

    def produce(self, rows: Iterable[dict[str, Any]], weights_sha256: str | None) -> bytes:
        """The bytes of the `product` from all rows of the job, in order."""
        raise NotImplementedError

    def check_model(self, card: Card, limits: Limits) -> None:
        """Raise Validation or TooLarge when the model cannot do what is asked; families add their rules."""

    def check_shelf(self, shelf: CardShelf, plugins: Mapping[str, str]) -> None:
        """Raise Validation when the request names models that are not there, or cannot do what is asked."""


class InputRequest(JobRequest):
    """A request that brings molecules."""

    in_brief: ClassVar[
        dict[str, Any]
    ] = {}  # fields with which a report asks; of `draws` the least that make sense

    molecules: Molecules

    @property
    def input(self) -> Molecules | None:
        return self.molecules

    def item_count(self) -> int:
        return 0
