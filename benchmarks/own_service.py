"""A whole service for a benchmark: embedded store, API and workers on a free port, gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.stack import Stack, running
from workers.settings import Settings


@contextmanager
def own_service(*, workers: int = 1) -> Iterator[Stack]:
    """A ready service with an empty data folder."""
    with tempfile.TemporaryDirectory(prefix="equimol-bench-") as folder:
        os.environ["EQUIMOL_DATA_FOLDER"] = folder
        os.environ["EQUIMOL_LOG_LEVEL"] = "WARNING"
        with (
            (Path(folder) / "log").open("wb") as log,
            running(Settings(port=0), workers=workers, say=print, log=log) as stack,
        ):
            stack.run(lambda: stack.api_answers() and stack.workers_ready() >= workers, timeout=300)
            yield stack
