"""Requests to order-agnostic string models and left-to-right ones: sample, score, fill in, compress, decompress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from pydantic import Field

from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table
from workers.schemas.libraries import LibraryCompressRequest, LibraryDecompressRequest
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

Order = Literal["left-to-right", "right-to-left", "random"]

COMPRESSED = Table("molecules.csv", ("index", "title", "string", "n_tokens", "bits", "raw", "reasons"))
DECOMPRESSED = Table("molecules.csv", ("index", "number", "title", "string", "reasons"))

Steps = Annotated[
    int | None,
    Field(
        default=None,
        ge=1,
        le=1000,
        description="Network calls a molecule at most; places filled at the same call do not see each other. "
        "By default one a token.",
    ),
]
Policy = Annotated[
    Literal["dp", "even"],
    Field(
        default="dp",
        description="Which places share a call: by dynamic programming on the model's losses, or evenly.",
    ),
]
Temperature = Annotated[
    float, Field(default=1.0, gt=0, le=5, description="Below 1: more of the likely, less variety.")
]


def goes_from_left(card: Card) -> bool:
    """Whether the model knows one order only."""
    return card.config.get("order") == "left-to-right"


def check_order(card: Card, **given: bool) -> None:
    """Raises Validation that points at settings which were given to a model that has no choice of order."""
    found = [name for name, strange in given.items() if strange]
    if found and goes_from_left(card):
        raise Validation(
            f"model {card.id} goes from left to right, a token a network call; leave out {', '.join(found)}",
            errors=[
                {"pointer": f"/{name}", "detail": "not for a left-to-right model; leave it out"}
                for name in found
            ],
        )


class SampleRequest(StringSampleRequest):
    """Draw new molecules as SMILES under a budget of network calls. The seed fixes each of them."""

    steps: Steps
    policy: Policy
    temperature: Temperature

    def evaluations_per_item(self) -> int:
        return self.steps or 40

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_order(card, steps=self.steps is not None, policy=self.policy != "dp")


class ScoreRequest(StringRequest):
    """How likely molecules are: bits per molecule with standard error, and the surprisal of every token.

    Random orders bound the density; one fixed order is exact for the model read in that order, and so is a
    left-to-right model.
    """

    tables: ClassVar[tuple[Table, ...]] = (STRINGS, STRING_SCORES)

    draws: int = Field(default=4, ge=1, le=256, description="Random orders; the figures are means over them.")
    order: Order | None = Field(
        default=None,
        description="By default random orders, or the model's own where it goes from left to right.",
    )

    def evaluations_per_item(self) -> int:
        return 40 * (self.draws if self.order in (None, "random") else 1)

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_order(card, order=self.order not in (None, "left-to-right"))


class InfillRequest(StringInfillRequest):
    __doc__ = f"""{StringInfillRequest.__doc__}
    Every completion says its probability given the template, the length and the order in which it was drawn.
    """

    steps: Steps
    policy: Policy
    temperature: Temperature

    def evaluations_per_item(self) -> int:
        return self.steps or 20


class CompressRequest(LibraryCompressRequest, StringRequest):
    """Compress a library of molecules without loss: SMILES as they are written, in their order, with titles.

    The result is the file `library.eqm`. Only the same weights can decompress it. Strings that the model has no
    tokens for are kept as they are.
    """

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (COMPRESSED,)

    canonical: bool = Field(
        default=False,
        description="Rewrite each SMILES in RDKit's canonical form first; then the text may change.",
    )
    order: Order = "left-to-right"
    steps: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Network calls a molecule: fewer are faster and take more room.",
    )

    def evaluations_per_item(self) -> int:
        return self.steps or 40

    def check_model(self, card: Card, limits: Limits) -> None:
        super().check_model(card, limits)
        check_order(card, order=self.order != "left-to-right", steps=self.steps is not None)

    @property
    def coding(self) -> tuple[str, int]:
        return self.order, self.steps or 0


class DecompressRequest(LibraryDecompressRequest):
    """Read a compressed library: all of it, or single molecules by number without decoding the others' blocks."""

    tables: ClassVar[tuple[Table, ...]] = (DECOMPRESSED,)

    def evaluations_per_item(self) -> int:
        return self.opened.steps or 40

    def knows(self, order: str, steps: int, card: Card) -> bool:
        if goes_from_left(card):
            return order == "left-to-right" and steps == 0
        return order in get_args(Order) and steps <= 1000


CAPABILITIES: dict[str, type[JobRequest]] = {
    "sample": SampleRequest,
    "score": ScoreRequest,
    "infill": InfillRequest,
    "compress": CompressRequest,
    "decompress": DecompressRequest,
}
