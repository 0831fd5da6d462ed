"""Requests to order-agnostic string models: sample, score, fill in, compress and decompress."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from models.ardm.container import Block, Library, LibraryError, check_model, joined, read, write
from workers.problems import Validation
from workers.schemas.base import JobRequest, Limits, Table
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

PRODUCT = "library.eqm"
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


class SampleRequest(StringSampleRequest):
    """Draw new molecules as SMILES under a budget of network calls. The seed fixes each of them."""

    steps: Steps
    policy: Policy
    temperature: Temperature

    def evaluations_per_item(self) -> int:
        return self.steps or 40


class ScoreRequest(StringRequest):
    """How likely molecules are: bits per molecule with standard error, and the surprisal of every token.

    Random orders bound the density; one fixed order is exact for the model read in that order.
    """

    tables: ClassVar[tuple[Table, ...]] = (STRINGS, STRING_SCORES)

    draws: int = Field(default=4, ge=1, le=256, description="Random orders; the figures are means over them.")
    order: Order = "random"

    def evaluations_per_item(self) -> int:
        return 40 * (self.draws if self.order == "random" else 1)


class InfillRequest(StringInfillRequest):
    __doc__ = f"""{StringInfillRequest.__doc__}
    Every completion says its probability given the template, the length and the order in which it was drawn.
    """

    steps: Steps
    policy: Policy
    temperature: Temperature

    def evaluations_per_item(self) -> int:
        return self.steps or 20


class CompressRequest(StringRequest):
    """Compress a library of molecules without loss: SMILES as they are written, in their order, with titles.

    The result is the file `library.eqm`. Only the same weights can decompress it. Strings that the model has no
    tokens for are kept as they are.
    """

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (COMPRESSED,)
    product: ClassVar[str | None] = PRODUCT

    canonical: bool = Field(
        default=False,
        description="Rewrite each SMILES in RDKit's canonical form first; then the text may change.",
    )
    block: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Molecules that share a code: fewer are found faster, more take less room.",
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

    def produce(self, rows: Iterable[dict[str, Any]], weights_sha256: str | None) -> bytes:
        blocks: list[Block] = []
        raw: dict[int, str] = {}
        titles: dict[int, str] = {}
        for row in rows:
            if row.get("code") is not None:
                blocks.append(Block(row["code_molecules"], base64.b64decode(row["code"])))
            if row.get("raw"):
                raw[row["index"]] = row["string"]
            if row.get("title"):
                titles[row["index"]] = row["title"]
        return write(Library(weights_sha256 or "", self.order, self.steps or 0, joined(blocks), raw, titles))


class DecompressRequest(JobRequest):
    """Read a compressed library: all of it, or single molecules by number without decoding the others' blocks."""

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (DECOMPRESSED,)

    library: str = Field(min_length=1, max_length=64 * 2**20, description="The file library.eqm in base64.")
    numbers: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, max_length=10_000, description="Which molecules, from 0; by default all."
    )

    @cached_property
    def opened(self) -> Library:
        """The library. Raises Validation when it is none, is cut short or altered."""
        try:
            return read(base64.b64decode(self.library, validate=True))
        except (binascii.Error, LibraryError) as error:
            detail = str(error) if isinstance(error, LibraryError) else f"the library is no base64: {error}"
            raise Validation(detail, errors=[{"pointer": "/library", "detail": detail}]) from error

    def item_count(self) -> int:
        return self.opened.molecules if self.numbers is None else len(self.numbers)

    def evaluations_per_item(self) -> int:
        return self.opened.steps or 40

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        try:
            check_model(self.opened, card.weights.sha256 if card.weights else "")
        except LibraryError as error:
            fault = {"pointer": "/library", "detail": str(error)}
            raise Validation(str(error), errors=[fault], library_weights=self.opened.model) from error
        if self.opened.order not in get_args(Order) or self.opened.steps > 1000:
            detail = (
                f"the library names an order {self.opened.order[:40]!r} or a budget that is not known here"
            )
            raise Validation(detail, errors=[{"pointer": "/library", "detail": detail}])
        if self.opened.molecules == 0:
            raise Validation(
                "the library is empty", errors=[{"pointer": "/library", "detail": "it is empty"}]
            )
        outside = [n for n in self.numbers or () if n >= self.opened.molecules]
        if outside:
            detail = f"the library has molecules 0 to {self.opened.molecules - 1}, not {outside[0]}"
            raise Validation(detail, errors=[{"pointer": "/numbers", "detail": detail}])


CAPABILITIES: dict[str, type[JobRequest]] = {
    "sample": SampleRequest,
    "score": ScoreRequest,
    "infill": InfillRequest,
    "compress": CompressRequest,
    "decompress": DecompressRequest,
}
