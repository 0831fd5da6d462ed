"""Requests to equivariant normalizing flows: sample and score."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from workers.schemas.base import MOLECULES, SCORES, InputRequest, JobRequest, Table
from workers.schemas.generation import GenerateRequest

CALLS = {"heun": 2, "rk4": 4}
"""Network calls of one step of a fixed solver."""
ADAPTIVE_CALLS = 100
"""About what the adaptive solver makes for one molecule at its default tolerance; only for estimates of cost."""
EXACT_CALLS = 17 * 150
"""About what the exact trace of one draw costs, in network calls: divergences at 17 times, 150 directions each."""


class SampleRequest(GenerateRequest):
    """Draw new molecules: noise carried along the flow."""

    solver: Literal["dopri5", "heun", "rk4"] = Field(
        default="dopri5",
        description="dopri5 chooses the steps of each molecule by itself; heun and rk4 make `steps` steps.",
    )
    tolerance: float = Field(
        default=1e-3, ge=1e-6, le=0.1, description="Error allowed to dopri5, relative and absolute."
    )
    steps: int = Field(
        default=32, ge=2, le=1_000, description="Steps of heun (2 network calls) or rk4 (4 calls)."
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="Size of the starting noise; 1 draws from the model's own density.",
    )

    def evaluations_per_item(self) -> int:
        return self.steps * CALLS[self.solver] if self.solver in CALLS else ADAPTIVE_CALLS


class ScoreRequest(InputRequest):
    """Log-likelihood of given molecules under the flow, in nats, with a standard error."""

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, SCORES)

    method: Literal["exact", "hutchinson"] = Field(
        default="exact",
        description="The trace of the field's Jacobian exactly, or estimated at random (cheaper, far noisier).",
    )
    draws: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description="Random dequantizations of the elements per molecule (hutchinson: and probes); default 2 or 8.",
    )
    tolerance: float = Field(
        default=1e-4,
        ge=1e-7,
        le=0.1,
        description="Error allowed to the solver of hutchinson, relative and absolute; exact tells its own error.",
    )

    @property
    def effective_draws(self) -> int:
        """The draws asked for, or the method's default."""
        return self.draws or (2 if self.method == "exact" else 8)

    def evaluations_per_item(self) -> int:
        return self.effective_draws * (EXACT_CALLS if self.method == "exact" else 2 * ADAPTIVE_CALLS)


CAPABILITIES: dict[str, type[JobRequest]] = {"sample": SampleRequest, "score": ScoreRequest}
