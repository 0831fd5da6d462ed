"""The registry of model families: request schemas (light) and adapters (heavy), found by name.

A family lives in `workers/schemas/FAMILY.py` and `workers/adapters/FAMILY.py`, or, through the setting
`plugins`, in `PACKAGE.schemas` and `PACKAGE.adapter` of another package.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType

from pydantic import create_model
from pydantic.fields import FieldInfo

from workers import schemas
from workers.cards import Card
from workers.problems import NotFound
from workers.schemas.base import JobRequest

_SHARED = {"base", "generation", "molecules", "strings"}
CHEMISTRY = "chemistry"
"""The family without models: convert and validate."""

MODEL_FREE = (CHEMISTRY, "report")
"""Families whose capabilities belong to no model and have addresses of their own: /v1/CAPABILITY."""


def families(plugins: Mapping[str, str] = {}) -> dict[str, dict[str, type[JobRequest]]]:
    """Every family's capabilities: {family: {capability: request type}}."""
    names = {module.name for module in pkgutil.iter_modules(schemas.__path__)} - _SHARED
    return {name: capabilities(name, plugins) for name in sorted(names | set(plugins))}


def capabilities(family: str, plugins: Mapping[str, str]) -> dict[str, type[JobRequest]]:
    """The request type of every capability of one family; raises NotFound for an unknown family."""
    name = f"{plugins[family]}.schemas" if family in plugins else f"workers.schemas.{family}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise NotFound(f"there is no model family {family!r}", family=family) from error
    table: dict[str, type[JobRequest]] = module.CAPABILITIES
    return table


def model_free_family(capability: str) -> str:
    """The family of a capability that belongs to no model. Raises NotFound."""
    for family in MODEL_FREE:
        if capability in capabilities(family, {}):
            return family
    raise NotFound(f"nothing without a model is called {capability!r}")


def adapter_module(family: str, plugins: Mapping[str, str]) -> ModuleType:
    """The module that holds the family's `Adapter`; imports torch or RDKit, so only workers call it."""
    return importlib.import_module(
        f"{plugins[family]}.adapter" if family in plugins else f"workers.adapters.{family}"
    )


def request_type(card: Card, capability: str, plugins: Mapping[str, str] = {}) -> type[JobRequest]:
    """The request type of one model's capability, with the card's own defaults in its JSON Schema."""
    table = capabilities(card.family, plugins)
    if capability not in card.capabilities or capability not in table:
        offered = ", ".join(name for name in card.capabilities if name in table) or "none"
        raise NotFound(f"model {card.id} offers {offered}, not {capability}", model=card.id)
    base = table[capability]
    changed = {}
    for name, value in card.defaults.get(capability, {}).items():
        if name not in base.model_fields:
            raise NotFound(f"card {card.id} sets a default for {name}, which {capability} does not have")
        field = base.model_fields[name]
        changed[name] = (field.annotation, FieldInfo.merge_field_infos(field, default=value))
    if not changed:
        return base
    title = f"{card.id.replace('-', ' ').title().replace(' ', '').replace('.', '')}{base.__name__}"
    made: type[JobRequest] = create_model(title, __base__=base, **changed)  # type: ignore[call-overload]
    return made
