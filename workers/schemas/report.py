"""Requests for the plausibility report: every score of the suite that applies to a molecule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from workers.problems import NotFound, Validation
from workers.report_page import page
from workers.schemas.base import MOLECULES, InputRequest, JobRequest, Table

if TYPE_CHECKING:
    from workers.cards import Card, CardShelf

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

    report.json has all of it; report.html shows it on one page without any outside resource.
    """

    needs_model: ClassVar[bool] = False
    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, REPORT)
    product: ClassVar[str | None] = "report.html"
    listing: ClassVar[str | None] = "report.json"
    reads: ClassVar[tuple[str, ...]] = ("sdf", "smi", "xyz")  # string models need bonds

    models: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, min_length=1, max_length=64, description="Only these models; by default all that can."
    )
    draws: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Random draws of every score that is drawn; models that need more take more.",
    )
    strain: bool = Field(default=True, description="Also the strain energy of given coordinates.")

    def evaluations_per_item(self) -> int:
        return CALLS

    def check_shelf(self, shelf: CardShelf, plugins: Mapping[str, str]) -> None:
        """Raise Validation, pointing at every model that is not here, has no weights, or judges no molecules."""
        if self.models is None:
            return
        able = {card.id: card for card, _, _ in askable(shelf, plugins)}
        faults = []
        for number, name in enumerate(self.models):
            if name not in shelf.cards:
                detail = f"there is no model {name!r}; choose from {', '.join(able)}"
            elif name not in able:
                detail = f"{name} judges no molecules; choose from {', '.join(able)}"
            elif not able[name].available:
                detail = f"the weights of {name} are not installed"
            else:
                continue
            faults.append({"pointer": f"/models/{number}", "detail": detail})
        if faults:
            raise Validation(faults[0]["detail"], errors=faults)

    def produce(self, rows: Iterable[dict[str, Any]], weights_sha256: str | None) -> bytes:  # noqa: ARG002
        return page(rows)


def askable(shelf: CardShelf, plugins: Mapping[str, str]) -> list[tuple[Card, str, type[InputRequest]]]:
    """Every model that reads molecules and scores them, or predicts with a domain: found by the cards alone."""
    from workers.families import request_type  # which looks for families in this package

    out = []
    for _, card in sorted(shelf.cards.items()):
        for capability in ("score", "predict"):
            try:
                kind = request_type(card, capability, plugins)
            except NotFound:
                continue
            if issubclass(kind, InputRequest):
                out.append((card, capability, kind))
    return out


CAPABILITIES: dict[str, type[JobRequest]] = {"report": ReportRequest}
