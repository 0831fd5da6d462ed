"""Requests to multinomial diffusion of SMILES: sample, score, infill, repair, vary."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits, Table
from workers.schemas.strings import (
    STRING_SCORES,
    STRINGS,
    StringInfillRequest,
    StringRequest,
    StringSampleRequest,
    Texts,
)

if TYPE_CHECKING:
    from workers.cards import Card

STEPS_TEXT = (
    "Network calls per string; fewer jump over more noise at once. At most the model's number of steps."
)

REPAIRS = Table(
    "repairs.csv",
    (
        "index", "title", "given", "was_valid", "smiles", "string", "edits", "log_likelihood", "standard_error",
        "kind", "n_repairs", "reasons",
    ),
)  # fmt: skip
VARIANTS = Table(
    "variants.csv",
    (
        "index", "title", "parent", "smiles", "string", "tanimoto", "noise", "n_valid", "n_different", "reasons",
    ),
)  # fmt: skip


def check_steps(steps: int, card: Card, field: str = "steps") -> None:
    """Raise Validation when a request asks for more steps than the model has."""
    most = int(card.config.get("steps", 1))
    if steps > most:
        raise Validation(
            f"model {card.id} has {most} steps; {field} asks for {steps}",
            errors=[{"pointer": f"/{field}", "detail": f"must be at most {most}"}],
        )


class SampleRequest(StringSampleRequest):
    """Draw new molecules as SMILES by undoing noise in a chosen number of steps."""

    steps: int = Field(default=100, ge=1, le=10_000, description=STEPS_TEXT)
    temperature: float = Field(
        default=1.0, gt=0, le=5, description="Below 1 predictions are sharpened: more valid, less diverse."
    )

    def evaluations_per_item(self) -> int:
        return self.steps

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_steps(self.steps, card)


class ScoreRequest(StringRequest):
    """A lower bound on each molecule's log-likelihood, with its standard error and what every token adds.

    The bound is the full sum over all times; each draw takes as many network rows as the model has steps.
    """

    tables: ClassVar[tuple[Table, ...]] = (STRINGS, STRING_SCORES)

    draws: int = Field(default=4, ge=1, le=256, description="Noises averaged over; the error is over them.")

    def evaluations_per_item(self) -> int:
        return 100 * self.draws


class InfillRequest(StringInfillRequest):
    __doc__ = StringInfillRequest.__doc__

    steps: int = Field(default=50, ge=1, le=10_000, description=STEPS_TEXT)
    temperature: float = Field(default=1.0, gt=0, le=5)

    def evaluations_per_item(self) -> int:
        return self.steps

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_steps(self.steps, card)


class RepairRequest(InputRequest):
    """Valid SMILES near broken ones, ranked by likelihood and number of edits.

    Edits are substitutions, insertions and deletions of tokens, and swaps of neighbors. Rows give the `repairs` of
    each string, best first, each with its edit distance, its canonical SMILES and the bound on its log-likelihood.
    A string that is valid already comes back as it is.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (REPAIRS,)

    max_edits: int = Field(
        default=2, ge=1, le=3, description="Most edits tried; the fewest that help are taken."
    )
    n_repairs: int = Field(default=5, ge=1, le=24, description="Repairs told for every string.")
    draws: int = Field(default=1, ge=1, le=16, description="Draws of the bound that settles the order.")

    def evaluations_per_item(self) -> int:
        return 100 * self.n_repairs * self.draws + 1000


class VaryRequest(StringRequest):
    """Variations of given molecules: noise them in part, and undo the noise.

    `noise` is the dial of similarity: 0.1 changes a token or two, 1 forgets the molecule. The number of tokens
    stays. Rows give all `variants` with their Tanimoto similarity (Morgan, radius 2, 256 bits) to the molecule.
    """

    tables: ClassVar[tuple[Table, ...]] = (VARIANTS,)

    noise: float = Field(default=0.3, gt=0, le=1, description="Share of the way to pure noise.")
    n_variants: int = Field(default=8, ge=1, le=256, description="Variations tried for every molecule.")
    steps: int = Field(default=50, ge=1, le=10_000, description=STEPS_TEXT)
    temperature: float = Field(default=1.0, gt=0, le=5)

    def evaluations_per_item(self) -> int:
        return self.n_variants * self.steps

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_steps(self.steps, card)


CAPABILITIES: dict[str, type[JobRequest]] = {
    "sample": SampleRequest,
    "score": ScoreRequest,
    "infill": InfillRequest,
    "repair": RepairRequest,
    "vary": VaryRequest,
}
