"""Compressed libraries, whatever model codes them: one file that names the model's hash and its own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.core.library_file import Block, Library, LibraryError, check_model, joined, read, write
from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits

if TYPE_CHECKING:
    from workers.cards import Card

PRODUCT = "library.eqm"
Texts = tuple[Literal["sdf", "xyz", "smi"], ...]


class LibraryCompressRequest(InputRequest):
    """Molecules into a file. Rows bring `code` and `code_molecules` of the block that they begin."""

    product: ClassVar[str | None] = PRODUCT

    block: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Molecules that share a code: fewer are found faster, more take less room.",
    )

    @property
    def coding(self) -> tuple[str, int]:
        """How the molecules are coded, and in how many network calls: what the file says for the way back."""
        raise NotImplementedError

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
        return write(Library(weights_sha256 or "", *self.coding, joined(blocks), raw, titles))


class LibraryDecompressRequest(JobRequest):
    """A file back into molecules."""

    texts: ClassVar[Texts] = ("smi",)

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

    def number(self, index: int) -> int:
        """The molecule of the library that item `index` is."""
        return index if self.numbers is None else self.numbers[index]

    def knows(self, order: str, steps: int, card: Card) -> bool:
        """Whether the model codes in this way."""
        raise NotImplementedError

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        try:
            check_model(self.opened, card.weights.sha256 if card.weights else "")
        except LibraryError as error:
            fault = {"pointer": "/library", "detail": str(error)}
            raise Validation(str(error), errors=[fault], library_weights=self.opened.model) from error
        if not self.knows(self.opened.order, self.opened.steps, card):
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
