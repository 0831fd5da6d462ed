"""Requests to particle models: where charged particles will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

Coordinate = Annotated[FiniteFloat, Field(ge=-1e4, le=1e4)]
Vector = tuple[Coordinate, Coordinate, Coordinate]
MOST_PARTICLES = 50

TRAJECTORIES = Table(
    "predictions.csv",
    (
        "index", "n_particles", "steps", "method", "positions", "radius", "coverage", "in_domain",
        "simulated_error", "reasons",
    ),
)  # fmt: skip


class ParticleSystem(BaseModel):
    """Charged particles of unit mass now, in the simulator's units (`docs/particles-and-properties.md`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    positions: list[Vector] = Field(min_length=2, max_length=MOST_PARTICLES)
    velocities: list[Vector] = Field(min_length=2, max_length=MOST_PARTICLES)
    charges: list[Annotated[FiniteFloat, Field(ge=-10, le=10)]] = Field(
        min_length=2, max_length=MOST_PARTICLES
    )

    @model_validator(mode="after")
    def _same_length(self) -> ParticleSystem:
        lengths = (len(self.positions), len(self.velocities), len(self.charges))
        if len(set(lengths)) > 1:
            raise ValueError("{} positions, {} velocities and {} charges".format(*lengths))
        return self


class PredictRequest(JobRequest):
    """Where charged particles are some steps of 0.001 later; a row a system."""

    tables: ClassVar[tuple[Table, ...]] = (TRAJECTORIES,)
    texts: ClassVar[tuple[Literal["sdf", "xyz", "smi"], ...]] = ()

    systems: list[ParticleSystem] = Field(min_length=1, max_length=10_000)
    steps: int = Field(
        default=1000, ge=1, le=100_000, description="Steps ahead; a model knows the number that it learned."
    )
    method: Literal["egnn", "gnn", "linear"] = Field(
        default="egnn", description="The EGNN, or one of the methods that it is compared with."
    )
    coverage: Literal[50, 80, 90, 95, 99] = Field(
        default=90, description="Per cent of particles that lie within `radius` of their predicted position."
    )
    simulate: bool = Field(
        default=False, description="Also run the simulator, and say how far off the prediction is."
    )

    def item_count(self) -> int:
        return len(self.systems)

    def evaluations_per_item(self) -> int:
        return 1

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        horizon = card.config.get("horizon")
        if self.steps != horizon:
            raise Validation(
                f"model {card.id} predicts {horizon} steps ahead, not {self.steps}",
                errors=[{"pointer": "/steps", "detail": f"must be {horizon}"}],
            )


CAPABILITIES: dict[str, type[JobRequest]] = {"predict": PredictRequest}
