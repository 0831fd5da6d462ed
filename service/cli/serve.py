"""`equimol serve`: the whole service on one machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from service.cli.stack import Stack, running
from service.places import data_folder, keys_file
from workers.settings import Settings


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on; others need an API key first. [default: 127.0.0.1]"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [default: 8000]")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="How many workers; each takes about 1 GB.")] = 1,
    data: Annotated[Path | None, typer.Option(help="The folder for jobs and results.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Start the service: API, web page, workers and an embedded job store. Ctrl-C stops all of it.

    Jobs and results live in the data folder (EQUIMOL_DATA_FOLDER) and are there again after a restart. With
    EQUIMOL_REDIS_URL set, that server is used and none is embedded.
    """
    given = {
        "EQUIMOL_HOST": host,
        "EQUIMOL_PORT": port,
        "EQUIMOL_DATA_FOLDER": data,
        "EQUIMOL_DEVICE": device,
    }
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    settings = Settings()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    stopping = _on_signals()
    with running(settings, workers=workers, say=lambda text: console.print(text)) as stack:
        stack.run(lambda: stopping() or stack.api_answers(), timeout=60)
        if not stopping():
            _announce(console, stack, settings)
        stack.run(lambda: stopping() or stack.workers_ready() >= workers)
        if not stopping():
            console.print(f"{workers} worker{'s' * (workers != 1)} ready")
        stack.run(stopping)
        console.print("stopping; running work goes back to the queue")


def _announce(console: Console, stack: Stack, settings: Settings) -> None:
    keys = (
        "API keys are asked for"
        if keys_file(settings).is_file()
        else "no API key is needed from this machine"
    )
    console.print(f"[bold]Equimol is running at {stack.url}[/bold]")
    console.print(f"  API reference {stack.url}/docs")
    console.print(f"  data folder   {data_folder(settings)}")
    console.print(f"  {keys}; Ctrl-C stops everything")


def _on_signals() -> Any:
    """A function that tells whether SIGINT or SIGTERM has come; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def catch(number: int, _: Any) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, catch)
    signal.signal(signal.SIGTERM, catch)
    return lambda: bool(caught)
