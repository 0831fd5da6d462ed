"""Model cards: what every shipped model is, can do and was measured at, read without importing torch."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError

from workers.problems import ModelUnavailable, NotFound

_log = logging.getLogger(__name__)

ModelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
FamilyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class Weights(_Part):
    """The safetensors file beside the card."""

    file: str
    sha256: str
    parameters: int | None = None
    bytes: int | None = None


class Metric(_Part):
    """One measured figure with its interval, and the same figure of real data beside it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    data: float | None = None
    command: str | None = None


class Card(_Part):
    """One model: `config` belongs to its family, `defaults` are the request parameters it was tuned for."""

    id: ModelId
    family: FamilyName
    title: str
    summary: str = ""
    papers: list[Any] = Field(default_factory=list)
    licence: str = ""
    capabilities: list[str] = Field(default_factory=list)
    elements: list[str] = Field(default_factory=list)
    size_range: tuple[int, int] | None = None
    size_histogram: dict[int, int] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list)
    weights: Weights | None = None
    created: str = ""
    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def weights_path(self) -> Path | None:
        """Where the weights lie; None for a model that has none."""
        return None if self.weights is None else self._folder / self.weights.file

    @property
    def available(self) -> bool:
        """Whether the weights file is there; its hash is checked when a worker loads it."""
        path = self.weights_path
        return path is None or path.is_file()

    def require_available(self) -> None:
        """Raise ModelUnavailable when the weights are missing."""
        if not self.available:
            raise ModelUnavailable(
                f"model {self.id} needs the file {self.weights.file if self.weights else '?'}, which is not "
                "beside its card; install the weights or train them again",
                model=self.id,
            )

    def document(self) -> dict[str, Any]:
        """The card as JSON for clients, with its availability."""
        return self.model_dump(mode="json") | {"available": self.available}


class CardShelf:
    """All cards of some folders, read when first asked for; a later folder wins over an earlier one."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(folders)

    @cached_property
    def cards(self) -> dict[str, Card]:
        """Cards by id."""
        return load_cards(self.folders)

    def get(self, model: str) -> Card:
        """One card; raises NotFound with the ids that exist."""
        try:
            return self.cards[model]
        except KeyError:
            known = ", ".join(sorted(self.cards)) or "none"
            raise NotFound(f"there is no model {model!r}; models here: {known}", model=model) from None


def builtin_folder() -> Path:
    """models/weights of the installed package, found without importing it."""
    spec = importlib.util.find_spec("models")
    locations = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(locations)) if locations else "models") / "weights"


def load_card(path: Path) -> Card:
    """One card from its JSON file; raises ModelUnavailable when the file is no valid card."""
    try:
        card = Card.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, ValidationError) as error:
        raise ModelUnavailable(f"{path.name} is not a valid model card: {error}", file=path.name) from error
    card._folder = path.parent
    return card


def load_cards(folders: Iterable[Path] = ()) -> dict[str, Card]:
    """The cards of the built-in folder and of those given, by id; a broken card is logged and skipped."""
    cards: dict[str, Card] = {}
    for folder in (builtin_folder(), *folders):
        for path in sorted(folder.glob("*.json")):
            try:
                card = load_card(path)
            except ModelUnavailable as error:
                _log.error("skipping a broken model card: %s", error)
                continue
            cards[card.id] = card
    return cards
