"""What models there are and what each can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from service.access import AnyCaller
from service.context import ContextDep
from service.documents import ModelList
from service.wire import model_summary

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.get("", summary="List the models")
def list_models(context: ContextDep, _: AnyCaller) -> ModelList:
    """Every model with its capabilities, in the order of their ids."""
    cards = context.shelf.cards
    return ModelList(items=[model_summary(cards[name]) for name in sorted(cards)])


@router.get("/{model}", summary="Show a model's card", response_model=dict[str, Any])
def show_model(model: str, context: ContextDep, _: AnyCaller) -> Response:
    """The whole card, and the parameters of each capability as JSON Schema with defaults and limits."""
    card = context.shelf.get(model)
    summary = model_summary(card)
    parameters = {
        offer.capability: offer.kind.model_json_schema()
        for offer in context.offers
        if offer.card is not None and offer.card.id == card.id
    }
    return JSONResponse(card.document() | {"parameters": parameters, "links": summary.links})
