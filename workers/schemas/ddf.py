"""Requests to fingerprint densities: score molecules by their fingerprint, draw and compress fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from workers.problems import Validation
from workers.schemas.base import InputRequest, JobRequest, Limits, Table
from workers.schemas.libraries import LibraryCompressRequest, LibraryDecompressRequest

if TYPE_CHECKING:
    from workers.cards import Card

FingerprintKind = Literal["maccs", "morgan"]
Texts = tuple[Literal["sdf", "xyz", "smi"], ...]

SAMPLES = Table(
    "fingerprints.csv",
    (
        "index", "fingerprint", "log_likelihood", "bits_on", "on", "nearest_smiles", "nearest_tanimoto", "reasons",
    ),
)  # fmt: skip
SCORES = Table(
    "scores.csv",
    (
        "index", "title", "smiles", "fingerprint", "log_likelihood", "kind", "bits_per_bit", "percentile",
        "in_domain", "baselines.chow_liu", "baselines.bernoulli", "nearest_smiles", "nearest_tanimoto", "reasons",
    ),
)  # fmt: skip
COMPRESSED = Table("fingerprints.csv", ("index", "title", "smiles", "bits_on", "bits", "raw", "reasons"))
DECOMPRESSED = Table(
    "fingerprints.csv", ("index", "number", "title", "fingerprint", "on", "string", "reasons")
)

KIND_TEXT = "MACCS keys (166 bits, readable) or Morgan bits (radius 2, folded to 256)."
NEIGHBOURS_TEXT = "Real training molecules named with their Tanimoto similarity, the nearest first."


def check_kind(kind: str, card: Card) -> None:
    """Raise Validation when the model has no such fingerprint."""
    known = list(card.config.get("kinds", {}))
    if kind not in known:
        raise Validation(
            f"model {card.id} knows the fingerprints {', '.join(known)}, not {kind}",
            errors=[{"pointer": "/fingerprint", "detail": f"choose from {', '.join(known)}"}],
        )


class SampleRequest(JobRequest):
    """Draw fingerprints with their exact log-probability, and name the real molecules nearest to each."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (SAMPLES,)

    n_fingerprints: int = Field(default=16, ge=1, le=10_000)
    fingerprint: FingerprintKind = Field(default="maccs", description=KIND_TEXT)
    neighbours: int = Field(default=3, ge=0, le=50, description=NEIGHBOURS_TEXT)

    def item_count(self) -> int:
        return self.n_fingerprints

    def evaluations_per_item(self) -> int:
        return 1

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        check_kind(self.fingerprint, card)


class ScoreRequest(InputRequest):
    """Exact log-probability of each molecule's fingerprint: how usual it is among the training data's.

    `percentile` says how many per cent of held-out molecules are less likely; `in_domain` is false below
    `domain_percentile`. Only the graph counts: coordinates are read and not used.
    """

    texts: ClassVar[Texts] = ("smi",)
    tables: ClassVar[tuple[Table, ...]] = (SCORES,)

    fingerprint: FingerprintKind = Field(default="maccs", description=KIND_TEXT)
    neighbours: int = Field(default=3, ge=0, le=50, description=NEIGHBOURS_TEXT)
    domain_percentile: float = Field(
        default=1.0, ge=0, le=50, description="Molecules below this percentile are called out of domain."
    )

    def evaluations_per_item(self) -> int:
        return 1

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        check_kind(self.fingerprint, card)


class CompressRequest(LibraryCompressRequest):
    """Compress the fingerprints of a library without loss, in their order, with titles.

    The result is the file `library.eqm`. Only the same weights can decompress it, to the bits that are on and not to
    the molecules. A record without a fingerprint is kept as the text that it is.
    """

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (COMPRESSED,)

    fingerprint: FingerprintKind = Field(default="maccs", description=KIND_TEXT)

    def evaluations_per_item(self) -> int:
        return 1

    @property
    def coding(self) -> tuple[str, int]:
        return self.fingerprint, 0

    def check_model(self, card: Card, limits: Limits) -> None:  # noqa: ARG002
        check_kind(self.fingerprint, card)


class DecompressRequest(LibraryDecompressRequest):
    """Read a library of fingerprints: all of it, or single ones by number without decoding the others' blocks."""

    texts: ClassVar[Texts] = ()
    tables: ClassVar[tuple[Table, ...]] = (DECOMPRESSED,)

    def evaluations_per_item(self) -> int:
        return 1

    def knows(self, order: str, steps: int, card: Card) -> bool:
        return order in card.config.get("kinds", {}) and steps == 0


CAPABILITIES: dict[str, type[JobRequest]] = {
    "sample": SampleRequest,
    "score": ScoreRequest,
    "compress": CompressRequest,
    "decompress": DecompressRequest,
}
