"""`equimol api`: the HTTP API alone."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import typer

from service.binding import check_exposure, listen
from service.keys import KeyRing
from service.places import keys_file
from workers.logs import configure_logging
from workers.settings import Settings


def api(
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [default: 8000]")] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the HTTP API alone; jobs wait until workers take them.

    For deployments with several machines: EQUIMOL_REDIS_URL names the job store, and EQUIMOL_RESULTS_URL (or
    a shared data folder) the place of the results. `equimol serve` starts everything on one machine instead.
    """
    given: dict[str, Any] = {"host": host, "port": port}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    configure_logging(settings)
    check_exposure(settings.host, KeyRing(keys_file(settings)))
    listener = socket.socket(fileno=fd) if fd is not None else listen(settings.host, settings.port)

    from service.server import run  # the largest import, so only when everything else is in order

    run(settings, listener)
