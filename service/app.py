"""The HTTP application, made by `create_app`; nothing happens at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service import errors, openapi
from service.context import Context
from service.metrics import RequestMetrics
from service.middleware.body import BodyLimit
from service.middleware.headers import SecurityHeaders
from service.middleware.origin import OriginGuard
from service.routes import events, files, jobs, models, molecules, operations, page, problems, submit
from workers.problems import Forbidden
from workers.settings import Settings
from workers.version import __version__


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for `settings` (by default those of the environment)."""
    context = Context.make(settings or Settings())
    app = FastAPI(
        title="Equimol",
        version=__version__,
        summary="Generate, complete and score 3D molecules.",
        description=openapi.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=_layers(context),
    )
    app.state.context = context
    errors.install(app)
    app.include_router(models.router)
    app.include_router(submit.make_router(context))
    for module in (jobs, events, molecules, files, operations, problems):
        app.include_router(module.router)
    page.install(app)
    openapi.install(app, context)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    try:
        yield
    finally:
        await context.close()


def _layers(context: Context) -> list[Middleware]:
    settings = context.settings
    layers = [
        Middleware(SecurityHeaders),
        Middleware(RequestMetrics, metrics=context.metrics),
        Middleware(
            OriginGuard,
            open_access=lambda: not context.keys.required,
            allowed_origins=settings.cors_origins,
            refuse=lambda reason: errors.problem_response(Forbidden(reason)),
        ),
        Middleware(BodyLimit, limit=settings.max_body_bytes, refuse=errors.too_large),
    ]
    if settings.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer"],
                expose_headers=["Location", "Link", "Retry-After", "ETag", "Content-Range"],
            )
        )
    return layers
