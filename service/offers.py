"""What can be asked for: every capability of every model, and the chemistry that needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.cards import Card, CardShelf
from workers.families import MODEL_FREE, capabilities, request_type
from workers.schemas.base import JobRequest


@dataclass(frozen=True)
class Offer:
    """One address that starts jobs."""

    path: str
    capability: str
    kind: type[JobRequest]
    card: Card | None

    @property
    def takes_molecules(self) -> bool:
        """Whether the request brings molecules, so that a file can be uploaded."""
        return "molecules" in self.kind.model_fields

    @property
    def subject(self) -> str:
        """Who does it, in words."""
        return "molecules" if self.card is None else self.card.title


def list_offers(shelf: CardShelf, plugins: Mapping[str, str]) -> tuple[Offer, ...]:
    """All offers, models first."""
    offers = [
        Offer(f"/v1/models/{card.id}/{capability}", capability, request_type(card, capability, plugins), card)
        for _, card in sorted(shelf.cards.items())
        for capability in card.capabilities
    ]
    for family in MODEL_FREE:
        free = capabilities(family, plugins).items()
        offers += [Offer(f"/v1/{capability}", capability, kind, None) for capability, kind in free]
    return tuple(offers)
