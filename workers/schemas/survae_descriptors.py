"""Requests to densities of descriptor rows: score molecules or rows, draw rows freely or under conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

Texts = tuple[Literal["sdf", "xyz", "smi"], ...]
NAMES = (
    "weight", "logp", "tpsa", "refractivity", "complexity", "sp3", "heavy_atoms", "heteroatoms", "halogens",
    "donors", "acceptors", "rings", "aromatic_rings", "rotatable_bonds", "stereocenters", "ring_system", "charge",
)  # fmt: skip

SCORES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "n_atoms", "log_likelihood", "standard_error", "kind", "draws", "percentile",
        "in_domain", *(f"descriptors.{name}" for name in NAMES), "reasons",
    ),
)  # fmt: skip
ROWS = Table("descriptors.csv", ("index", *(f"descriptors.{name}" for name in NAMES), "seed", "reasons"))


class ScoreRequest(InputRequest):
    """How usual is a molecule by its descriptors? A lower bound of log p of its row in nats, and its percentile
    among the training molecules.

    SMILES are described as they are, without coordinates. Rows below the first percentile are marked as outside.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (SCORES,)

    draws: int = Field(
        default=16, ge=2, le=1024, description="Importance-weighted draws; more make the bound tighter."
    )

    def evaluations_per_item(self) -> int:
        return self.draws


class Condition(BaseModel):
    """What a descriptor should be: a number or a category's name, or a range with `low`, `high` or both."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Condition:
        if self.low is None and self.high is None:
            raise ValueError("a range needs low or high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is larger than high ({self.high:g})")
        return self


class SampleRequest(JobRequest):
    """Draw rows of descriptors as the training molecules have them, freely or under conditions.

    Conditions are met exactly; `log_evidence` estimates how likely they are together, and a small
    `effective_sample_size` says that few of the particles behind the row agreed with them.
    """

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (ROWS,)

    n_rows: int = Field(default=16, ge=1, le=10_000)
    conditions: dict[
        Annotated[str, Field(max_length=64)], FiniteFloat | Annotated[str, Field(max_length=64)] | Condition
    ] = Field(
        default_factory=dict,
        max_length=32,
        description='By descriptor: a number, a category, or a range: {"logp": {"low": 1, "high": 2}, "rings": 1}.',
    )
    particles: int = Field(
        default=128, ge=8, le=1024, description="Of the sequential Monte Carlo, for each row."
    )

    def item_count(self) -> int:
        return self.n_rows

    def evaluations_per_item(self) -> int:
        return 25 if self.conditions else 1

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        columns = {column["name"]: column for column in card.config.get("columns", [])}
        faults = [
            {"pointer": f"/conditions/{name}", "detail": fault}
            for name, wanted in self.conditions.items()
            if (fault := _fault(columns, name, wanted))
        ]
        if faults:
            raise Validation(f"model {card.id}: {faults[0]['detail']}", errors=faults)


def _fault(columns: dict[str, Any], name: str, wanted: float | str | Condition) -> str:
    """What is wrong with a condition; "" when nothing is."""
    if name not in columns:
        return f"there is no descriptor {name!r}; choose from {', '.join(columns)}"
    column = columns[name]
    if column["kind"] == "category":
        known = column["categories"]
        return "" if wanted in known else f"{name} is one of {', '.join(known)}"
    if isinstance(wanted, str):
        return f"{name} is a number, not {wanted!r}"
    if column["kind"] == "count":
        if not isinstance(wanted, Condition) and (wanted < 0 or wanted != int(wanted)):
            return f"{name} is a count: 0, 1, 2, ..."
        if isinstance(wanted, Condition) and wanted.high is not None and wanted.high < 0:
            return f"{name} is a count: no range ends below 0"
    return ""


CAPABILITIES: dict[str, type[JobRequest]] = {"score": ScoreRequest, "sample": SampleRequest}
