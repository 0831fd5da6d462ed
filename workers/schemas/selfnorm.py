"""Requests to self-normalizing densities: the applicability domain of molecules, and drawn vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from workers.schemas.base import InputRequest, JobRequest, Table

Texts = tuple[Literal["sdf", "xyz", "smi"], ...]

SCORES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "n_atoms", "log_likelihood", "kind", "percentile", "in_domain",
        "inverse_error", "reasons",
    ),
)  # fmt: skip
ROWS = Table("vectors.csv", ("index", "log_likelihood", "percentile", "seed", "reasons"))


class ScoreRequest(InputRequest):
    """Is a molecule like those of the training data? The exact log-density of its descriptors and counts of atom
    environments, its percentile among the training molecules, and the columns that pull it down most.

    Molecules below the first percentile are marked as outside the applicability domain.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (SCORES,)

    columns: int = Field(default=5, ge=0, le=50, description="How many of the unusual columns are named.")

    def evaluations_per_item(self) -> int:
        return 1


class SampleRequest(JobRequest):
    """Draw vectors of the density, as real numbers: what the model takes for usual."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (ROWS,)

    n_rows: int = Field(default=16, ge=1, le=10_000)

    def item_count(self) -> int:
        return self.n_rows

    def evaluations_per_item(self) -> int:
        return 1


CAPABILITIES: dict[str, type[JobRequest]] = {"score": ScoreRequest, "sample": SampleRequest}
