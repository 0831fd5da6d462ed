"""What the routes share: settings, stores, model cards, keys. Made once per application, closed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from service.keys import KeyRing
from service.metrics import Metrics
from service.offers import Offer, list_offers
from service.places import keys_file
from service.rates import RateLimit
from workers.cards import CardShelf
from workers.connection import async_redis_client
from workers.files import ResultFiles
from workers.results import Results
from workers.settings import Settings
from workers.store import JobStore
from workers.submit import Desk

if TYPE_CHECKING:  # redis takes a fifth of a second to import, so that happens at the first connection
    import redis.asyncio


@dataclass(frozen=True)
class Context:
    """The application's own objects."""

    settings: Settings
    desk: Desk
    results: Results
    events: redis.asyncio.Redis
    shelf: CardShelf
    offers: tuple[Offer, ...]
    keys: KeyRing
    rates: RateLimit
    metrics: Metrics

    @classmethod
    def make(cls, settings: Settings) -> Context:
        """Connects to nothing yet: Redis is first talked to by the first request."""
        desk = Desk.open(settings)
        shelf = CardShelf(settings.model_folders)
        metrics = Metrics()
        metrics.watch(desk.store)
        return cls(
            settings=settings,
            desk=desk,
            results=Results(desk.store, desk.files),
            events=async_redis_client(settings),
            shelf=shelf,
            offers=list_offers(shelf, settings.plugins),
            keys=KeyRing(keys_file(settings)),
            rates=RateLimit(desk.store, settings),
            metrics=metrics,
        )

    @property
    def store(self) -> JobStore:
        """The job records."""
        return self.desk.store

    @property
    def files(self) -> ResultFiles:
        """The result files."""
        return self.desk.files

    async def close(self) -> None:
        """Give the connections back."""
        self.store.redis.close()
        await self.events.aclose()


def get_context(request: Request) -> Context:
    """The context of the application that serves `request`."""
    return cast(Context, request.app.state.context)


ContextDep = Annotated[Context, Depends(get_context)]
