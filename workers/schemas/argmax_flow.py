"""Requests to argmax flows of SMILES: sample, score, interpolate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from models.strings.tokens import TokenError, Vocabulary, smiles_tokens
from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table
from workers.schemas.strings import (
    STRING_SCORES,
    STRINGS,
    StringRequest,
    StringSampleRequest,
    Texts,
    longest_of,
)

if TYPE_CHECKING:
    from workers.cards import Card

TYPICAL = 40
"""Tokens of a usual molecule, each a network call of a flow that goes from left to right."""

PATH = Table(
    "path.csv",
    (
        "index", "position", "smiles", "string", "n_tokens", "valid", "similarity_to_start", "similarity_to_end",
        "reasons",
    ),
)  # fmt: skip

Smiles = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^\S+$")]


class SampleRequest(StringSampleRequest):
    """Draw new molecules as SMILES: normal numbers through the flow, and the tokens that they point at."""

    temperature: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Standard deviation of the normal numbers: below 1 more valid and less diverse; at 0 there is "
        "one string of each length.",
    )

    def evaluations_per_item(self) -> int:
        return TYPICAL


class ScoreRequest(StringRequest):
    """A lower bound on each molecule's log-likelihood: importance-weighted over draws, with its standard error.

    It rises with the draws towards the log-likelihood. `terms` has the plain bound, their mean, beside it.
    """

    tables: ClassVar[tuple[Table, ...]] = (STRINGS, STRING_SCORES)

    draws: int = Field(
        default=16,
        ge=1,
        le=4096,
        description="Importance samples; one gives the plain bound without an error.",
    )

    def evaluations_per_item(self) -> int:
        return self.draws


class InterpolateRequest(JobRequest):
    """Molecules on the way from one to another, in the space where the flow is standard normal.

    Row k of `points` lies at `position` k / (points - 1); the first is the start and the last the end. Lengths in
    tokens go evenly from one to the other. Every row says whether it is valid, and how alike it is to both ends
    (Tanimoto, Morgan fingerprints of radius 2 and 256 bits). The seed chooses the way: encoding is by chance.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (PATH,)

    start: Smiles = Field(description="The molecule at position 0, as SMILES.")
    end: Smiles = Field(description="The molecule at position 1, as SMILES.")
    points: int = Field(default=9, ge=2, le=1000, description="Molecules on the path, both ends among them.")
    way: Literal["spherical", "linear"] = Field(
        default="spherical",
        description="On the arc between the ends, where points are as usual as draws are, or straight.",
    )
    canonical: bool = Field(
        default=True,
        description="Rewrite both SMILES in RDKit's canonical form first, as the model's data are.",
    )

    def item_count(self) -> int:
        return self.points

    def evaluations_per_item(self) -> int:
        return TYPICAL

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        errors = []
        for name, text in (("start", self.start), ("end", self.end)):
            try:
                if self.canonical:  # the form that the model reads is known to the worker only
                    smiles_tokens(text)
                else:
                    Vocabulary(card.config["tokens"]).encode(text, longest=longest_of(card))
            except TokenError as error:
                errors.append({"pointer": f"/{name}", "detail": str(error)})
        if errors:
            raise Validation(
                f"{errors[0]['pointer'][1:]} cannot be read: {errors[0]['detail']}", errors=errors
            )


CAPABILITIES: dict[str, type[JobRequest]] = {
    "sample": SampleRequest,
    "score": ScoreRequest,
    "interpolate": InterpolateRequest,
}
