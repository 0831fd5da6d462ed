"""Requests to property models: predict properties of given molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from workers.problems import Validation
from workers.schemas.base import MOLECULES, InputRequest, JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

Property = Literal["mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv"]
PROPERTIES: tuple[Property, ...] = (
    "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv",
)  # fmt: skip

PREDICTIONS = Table(
    "predictions.csv",
    (
        "index", "title", "smiles", "n_atoms", "geometry", "in_domain", "coverage",
        *(f"properties.{name}.{part}" for name in PROPERTIES for part in ("value", "low", "high", "unit")),
        "reasons",
    ),
)  # fmt: skip


class PredictRequest(InputRequest):
    """Properties of molecules from their 3D structure, each with an interval, and whether to trust them.

    The model learned from geometries of B3LYP quality. Coordinates given in SDF, XYZ or JSON are used as they are;
    SMILES get coordinates by ETKDG and MMFF94, which costs accuracy, and the rows say so.
    """

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, PREDICTIONS)

    properties: list[Property] | None = Field(
        default=None,
        min_length=1,
        max_length=12,
        description="Which properties; by default all of the model.",
    )
    coverage: Literal[50, 80, 90, 95, 99] = Field(
        default=90, description="Per cent of intervals that hold the true value, for molecules like QM9's."
    )

    def evaluations_per_item(self) -> int:
        return 1

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        known = card.config.get("properties", [])
        strange = [name for name in self.properties or () if name not in known]
        if strange:
            raise Validation(
                f"model {card.id} predicts {', '.join(known)}; not {', '.join(strange)}",
                errors=[{"pointer": "/properties", "detail": f"choose from {', '.join(known)}"}],
            )


CAPABILITIES: dict[str, type[JobRequest]] = {"predict": PredictRequest}
