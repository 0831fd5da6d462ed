"""The web page, its files, and the API reference; nothing is loaded from other sites."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent.parent / "static"

router = APIRouter(include_in_schema=False)


class _Files(StaticFiles):
    """Static files that a browser asks about again each time (the answer is mostly 304)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/docs")
async def reference() -> FileResponse:
    """The API reference."""
    return FileResponse(FOLDER / "docs.html", headers={"Cache-Control": "no-cache"})


def install(app: FastAPI) -> None:
    """Add the page and its files."""
    app.include_router(router)
    app.mount("/static", _Files(directory=FOLDER), name="static")
