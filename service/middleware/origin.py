"""Keeps other web sites from using a service that listens on this machine without a key."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})


class OriginGuard:
    """Refuses state-changing requests that a browser says come from another site.

    Without keys it also refuses host names that are not this machine's (DNS rebinding); `open_access()`
    tells whether that is so, and `allowed_origins` are the sites that CORS lets in.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        open_access: Callable[[], bool],
        allowed_origins: Collection[str],
        refuse: Callable[[str], Response],
    ) -> None:
        self.app = app
        self.open_access = open_access
        self.allowed_origins = frozenset(allowed_origins)
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http" and (reason := self._obstruction(scope)):
            await self.refuse(reason)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _obstruction(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', 'localhost')}")
        if self.open_access() and host.hostname not in _LOOPBACK_NAMES:
            return (
                f"the host name {host.hostname!r} is not this machine's, and no API key protects the service"
            )
        if scope["method"] in _SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is None or origin in self.allowed_origins:
            return None
        if urlsplit(origin).netloc != host.netloc:
            return f"the request comes from another site ({origin}), which is not among the allowed origins"
        return None
