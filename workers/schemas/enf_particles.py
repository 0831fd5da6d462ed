"""Requests to flows of particle systems: draw configurations, and score given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, FiniteFloat

from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table

if TYPE_CHECKING:
    from workers.cards import Card

Coordinate = Annotated[FiniteFloat, Field(ge=-1e3, le=1e3)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=3)]
Configuration = Annotated[list[Point], Field(min_length=2, max_length=100)]
Texts = tuple[Literal["sdf", "xyz", "smi"], ...]

CONFIGURATIONS = Table(
    "configurations.csv",
    ("index", "n_points", "energy", "log_likelihood", "standard_error", "log_weight", "positions", "reasons"),
)
EXACT_CALLS = 33 * 8
"""About what the exact trace of one configuration costs, in network calls (directions are taken together)."""


class SampleRequest(JobRequest):
    """Draw configurations of a particle system, with their energies and likelihoods.

    `log_weight` is -energy - log_likelihood: means over samples weighed by its exponential are means over the
    system itself, whatever the flow's faults, and the mean weight is the system's partition function.
    """

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (CONFIGURATIONS,)

    n_samples: int = Field(default=16, ge=1, le=10_000)
    steps: int = Field(default=12, ge=2, le=1_000, description="Steps of RK4 (4 network calls each).")
    weigh: bool = Field(default=True, description="Also compute the exact log-likelihood of every sample.")

    def item_count(self) -> int:
        return self.n_samples

    def evaluations_per_item(self) -> int:
        return 4 * self.steps + (EXACT_CALLS if self.weigh else 0)


class ScoreRequest(JobRequest):
    """Log-likelihood of given configurations in nats, on the centered subspace, and their energy."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (CONFIGURATIONS,)

    configurations: list[Configuration] = Field(
        min_length=1,
        max_length=10_000,
        description="Positions of all particles; where the center lies is free.",
    )
    method: Literal["exact", "hutchinson"] = Field(
        default="exact", description="The trace of the field's Jacobian exactly, or estimated at random."
    )
    draws: int = Field(default=8, ge=2, le=1_000, description="Random probes of hutchinson.")

    def item_count(self) -> int:
        return len(self.configurations)

    def evaluations_per_item(self) -> int:
        return EXACT_CALLS if self.method == "exact" else 2 * 48 * self.draws

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        points, dimensions = card.size_range, (card.model_extra or {}).get("dimensions")
        wanted = f"{points[0]} points of {dimensions} numbers" if points and dimensions else None
        for k, configuration in enumerate(self.configurations):
            right = points is None or len(configuration) == points[0]
            if not right or any(len(point) != (dimensions or len(point)) for point in configuration):
                raise Validation(
                    f"model {card.id} knows configurations of {wanted}",
                    errors=[{"pointer": f"/configurations/{k}", "detail": f"must be {wanted}"}],
                )


CAPABILITIES: dict[str, type[JobRequest]] = {"sample": SampleRequest, "score": ScoreRequest}
