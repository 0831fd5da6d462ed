"""Requests to equivariant diffusion models: sample and score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, FiniteFloat

from workers.problems import TooLarge, Validation
from workers.schemas.base import MOLECULES, SCORES, InputRequest, JobRequest, Limits, Table
from workers.schemas.generation import Filters, GenerateRequest, SizeRange

if TYPE_CHECKING:
    from workers.cards import Card

FLOW_STEPS = 50
"""Steps of the probability flow; each takes two differentiated network calls."""

Context = dict[str, FiniteFloat | Annotated[list[FiniteFloat], Field(min_length=1, max_length=10_000)]]
"""By name of the condition: one value for all molecules, or a list that is used in turn."""
CONTEXT_TEXT = (
    "Values of the model's conditions by name, in the units that its card names under config.context: a number for "
    "all molecules or a list that is used in turn. Only for models with conditions, and needed there."
)


def context_of(context: Context | None, card_context: list[dict[str, object]], index: int) -> list[float]:
    """The values for molecule `index`, in the order of the card's conditions."""
    row = []
    for condition in card_context:
        value = (context or {})[str(condition["name"])]
        row.append(value[index % len(value)] if isinstance(value, list) else value)
    return row


def check_context(context: Context | None, card: Card) -> None:
    """Raise Validation unless exactly the model's conditions are given."""
    wanted = [condition["name"] for condition in card.config.get("context", [])]
    given = sorted(context or {})
    if given == sorted(wanted):
        return
    detail = f"give {', '.join(wanted)}" if wanted else "leave it out"
    raise Validation(
        f"model {card.id} takes {', '.join(wanted) or 'no conditions'}; the context has {', '.join(given) or 'none'}",
        errors=[{"pointer": "/context", "detail": detail}],
    )


class SampleRequest(GenerateRequest):
    """Draw new molecules."""

    steps: int = Field(default=100, ge=2, le=5_000, description="Network evaluations per molecule.")
    sampler: Literal["stochastic", "heun", "deterministic", "ancestral"] = "stochastic"
    churn: float | None = Field(
        default=None, ge=0, le=4, description="Noise put back by the stochastic sampler."
    )
    guidance: float | None = Field(
        default=None,
        ge=0,
        le=4,
        description="How far each step goes away from the errors of the model's smaller guide; 0 for no guide.",
    )
    context: Context | None = Field(default=None, description=CONTEXT_TEXT)
    keep_trajectory: int = Field(
        default=0, ge=0, le=200, description="Frames kept of every molecule's generation."
    )

    def evaluations_per_item(self) -> int:
        return self.steps

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_context(self.context, card)
        if self.keep_trajectory and self.n_molecules * self.keep_trajectory > 20_000:
            raise TooLarge("n_molecules times keep_trajectory must not exceed 20000; keep fewer frames")
        if self.guidance and "guide" not in card.config:
            raise Validation(
                f"model {card.id} has no guide",
                errors=[{"pointer": "/guidance", "detail": "leave it out, or give 0"}],
            )


class ScoreRequest(InputRequest):
    """Log-likelihood of given molecules under the model, in nats, with a standard error."""

    tables: ClassVar[tuple[Table, ...]] = (MOLECULES, SCORES)
    in_brief: ClassVar[dict[str, Any]] = {"draws": 32}  # with 4 the bound is wrong by 50 nats

    method: Literal["bound", "probability-flow"] = Field(
        default="bound",
        description="A lower bound, or an estimate by the probability flow (dearer and closer).",
    )
    draws: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description="Random draws per molecule; default 32 for the bound, else 4.",
    )

    context: Context | None = Field(default=None, description=CONTEXT_TEXT)

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_context(self.context, card)

    @property
    def effective_draws(self) -> int:
        """The draws asked for, or the method's default."""
        return self.draws or (32 if self.method == "bound" else 4)

    def evaluations_per_item(self) -> int:
        draws = self.effective_draws
        if self.method == "bound":  # one call a draw, and some for the last noise level
            return draws + max(min(draws, 2), draws // 8)
        return draws * 2 * FLOW_STEPS


__all__ = ["CAPABILITIES", "Filters", "SampleRequest", "ScoreRequest", "SizeRange"]

CAPABILITIES: dict[str, type[JobRequest]] = {"sample": SampleRequest, "score": ScoreRequest}
