"""`equimol demo`: everything once, from nothing to pictures."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.cli.display import molecule_table, notes, output, wait_with_bar
from service.cli.drawing import draw_grid
from service.cli.exits import DEBUG_VARIABLE, CommandError
from service.cli.stack import Stack, running
from service.client import Equimol, Molecule
from workers.settings import Settings

_LOG_LINES = 30


def demo(
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("out"),
    model: Annotated[str, typer.Option(help="The model.")] = "edm-qm9",
    molecules: Annotated[int, typer.Option("--molecules", "-n", min=1, max=1000, help="How many.")] = 16,
    seed: Annotated[int, typer.Option(help="Same seed, same molecules.")] = 1,
) -> None:
    """Start the service, sample and score molecules over REST, write them to a folder, stop everything.

    Nothing is left running and nothing is written outside the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with _service() as stack, Equimol(stack.url) as service:
        notes.print(f"the service is at {stack.url}, with one worker and its own job store")
        sampled = service.sample(model, n_molecules=molecules, seed=seed)
        notes.print(f"POST /v1/models/{model}/sample -> job {sampled.id}")
        wait_with_bar(sampled, "sampling")
        scored = service.score(model, sampled.document, seed=seed)
        notes.print(f"POST /v1/models/{model}/score  -> job {scored.id}")
        wait_with_bar(scored, "scoring")
        for name in ("molecules.sdf", "molecules.xyz", "molecules.csv"):
            sampled.save(out / name)
        scored.save(out / "scores.csv")
        sampled.save(out / "manifest.json")
        rows = _joined(list(sampled.molecules()), list(scored.molecules()))
    try:
        draw_grid(out / "molecules.xyz", out / "molecules.png")
    except CommandError as error:  # the molecules are there all the same
        notes.print(f"no picture: {error}")
    output.print(molecule_table(rows))
    valid = sum(bool(row.valid) for row in rows)
    seconds = time.monotonic() - begun
    notes.print(
        f"{valid} of {len(rows)} are valid; {seconds:.0f} s from start to end; nothing is left running"
    )
    notes.print(
        "look at " + ", ".join(str(out / name) for name in ("molecules.png", "molecules.sdf", "scores.csv"))
    )
    notes.print("next: `equimol serve` keeps the service running, with a page to look at molecules")


def _joined(sampled: list[Molecule], scored: list[Molecule]) -> list[Molecule]:
    """The sampled molecules with their likelihoods: the n-th molecule scored is the n-th accepted one."""
    accepted = [row for row in sampled if (row.model_extra or {}).get("accepted", True)]
    likelihoods = {row.index: score.model_extra or {} for row, score in zip(accepted, scored, strict=False)}
    names = ("log_likelihood", "standard_error")
    return [
        row.model_copy(update={name: likelihoods.get(row.index, {}).get(name) for name in names})
        for row in sampled
    ]


@contextmanager
def _service() -> Iterator[Stack]:
    """A service on a free port with its own folder, gone afterwards; a failure shows its log."""
    with tempfile.TemporaryDirectory(prefix="equimol-demo-") as folder:
        # Whatever the user has set up for a service of their own is not the demo's.
        for name in list(os.environ):
            if name.startswith("EQUIMOL_") and name != DEBUG_VARIABLE:
                del os.environ[name]
        os.environ["EQUIMOL_DATA_FOLDER"] = folder
        log = Path(folder) / "service.log"
        with log.open("wb") as file:
            try:
                notes.print("starting the service")
                with running(Settings(port=0), workers=1, say=notes.print, log=file) as stack:
                    stack.run(lambda: stack.api_answers() and stack.workers_ready() >= 1, timeout=180)
                    yield stack
            except Exception:
                tail = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                notes.print("\n".join(["the end of the service's log:", *tail]), markup=False)
                raise
