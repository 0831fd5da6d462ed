"""A page for every problem type: the addresses in `type` can be opened."""

from __future__ import annotations

import inspect

from fastapi import APIRouter

from service.routes.files import NotAcceptable, RangeNotSatisfiable
from service.submission import UnsupportedType
from workers.problems import PROBLEMS, EquimolProblem, NotFound

router = APIRouter(prefix="/problems", tags=["Problems"])

_OURS: tuple[type[EquimolProblem], ...] = (UnsupportedType, NotAcceptable, RangeNotSatisfiable)
_KINDS: dict[str, type[EquimolProblem]] = PROBLEMS | {kind.code: kind for kind in _OURS}


@router.get("", summary="List the problem types")
async def list_problems() -> dict[str, list[dict[str, str | int]]]:
    """Everything that can go wrong, with a stable address each."""
    return {"items": [_describe(kind) for kind in _KINDS.values()]}


@router.get("/{code}", summary="Explain a problem type")
async def show_problem(code: str) -> dict[str, str | int]:
    """What the problem means and whether trying again helps."""
    kind = _KINDS.get(code)
    if kind is None:
        raise NotFound(f"there is no problem type {code[:40]!r}; types: {', '.join(_KINDS)}")
    return _describe(kind)


def _describe(kind: type[EquimolProblem]) -> dict[str, str | int]:
    return {
        "type": f"/problems/{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "description": inspect.cleandoc(kind.__doc__ or kind.title),
        "retry": "later" if kind.status in (429, 503) else "no",
    }
