"""Requests for the plausibility report: every score of the suite that applies to a molecule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import Field

from workers.report_page import page
from workers.schemas.base import MOLECULES, InputRequest, JobRequest, Table

CALLS = 100
"""About how many network calls all models together take for a molecule."""

REPORT = Table(
    "report.csv",
    (
        "index",
        "title",
        "smiles",
        "n_atoms",
        "valid",
        "connected",
        "stable",
        "lowest_percentile",
        "flags",
        "reasons",
    ),
)


class ReportRequest(InputRequest):
    """How plausible are these molecules? Every served model that can score them does, and each figure says what it
    is: exact, a lower bound or an estimate, with its standard error and its percentile where the model knows one.

    The file report.html has it all on one page without any outside resource.
    """

    needs_model: ClassVar[bool] = False
    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, REPORT)
    product: ClassVar[str | None] = "report.html"

    models: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, min_length=1, max_length=64, description="Only these models; by default all that can."
    )
    draws: int = Field(default=4, ge=1, le=256, description="Random draws of every score that is drawn.")
    strain: bool = Field(default=True, description="Also the strain energy of given coordinates.")

    def evaluations_per_item(self) -> int:
        return CALLS

    def produce(self, rows: Iterable[dict[str, Any]], weights_sha256: str | None) -> bytes:  # noqa: ARG002
        return page(rows)


CAPABILITIES: dict[str, type[JobRequest]] = {"report": ReportRequest}
