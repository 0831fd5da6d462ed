"""`equimol jobs`: look at jobs, follow, save, cancel and delete them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from service.cli.display import notes, numbers, output, wait_with_bar
from service.cli.options import Key, Url, connect
from service.client import Job
from workers.records import JobStatus

JobId = Annotated[str, typer.Argument(help="The job's id.")]


def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs with this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    url: Url = None,
    key: Key = None,
) -> None:
    """List jobs, newest first."""
    with connect(url, key) as service:
        # Where the terminal is narrow, `what` gives way: an id is there to be copied.
        names = ("id", "what", "status", "done", "valid", "created")
        columns = (Column(name, no_wrap=name != "what", overflow="fold") for name in names)
        table = Table(*columns, box=None, pad_edge=False)
        for job in service.jobs(limit=limit, status=status.value if status else None, model=model):
            created = job.created.astimezone().strftime("%m-%d %H:%M")
            done = f"{job.progress.done}/{job.progress.total}"
            table.add_row(job.id, _what(job), job.status.value, done, str(job.progress.valid), created)
        output.print(table)


def show(
    job_id: JobId,
    as_json: Annotated[bool, typer.Option("--json", help="The whole document as JSON.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show one job: status, progress, seed, times, files, and why it failed if it did."""
    with connect(url, key) as service:
        job = service.job(job_id).document
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    else:
        _show(job)


def watch(job_id: JobId, url: Url = None, key: Key = None) -> None:
    """Follow a job until it ends; exit code 1 when it does not succeed."""
    with connect(url, key) as service:
        wait_with_bar(service.job(job_id), "watching")


def save(
    job_id: JobId,
    out: Annotated[
        Path, typer.Argument(help="Where; the suffix says what: .sdf, .xyz, .smi, .csv, .json or .zip.")
    ],
    url: Url = None,
    key: Key = None,
) -> None:
    """Download a job's molecules or other files."""
    with connect(url, key) as service:
        handle = service.job(job_id)
        handle.save(out, name="all.zip" if out.suffix == ".zip" else None)
    notes.print(f"saved {out}")


def cancel(job_id: JobId, url: Url = None, key: Key = None) -> None:
    """Cancel a job; what is finished is kept."""
    with connect(url, key) as service:
        job = service.job(job_id).cancel().document
    notes.print(f"job {job.id} is {job.status.value}" + ("" if job.ended else ", and stops now"))


def delete(job_id: JobId, url: Url = None, key: Key = None) -> None:
    """Delete a job and its files at once."""
    with connect(url, key) as service:
        service.job(job_id).delete()
    notes.print(f"job {job_id} is deleted")


def _what(job: Job) -> str:
    return job.capability if job.model is None else f"{job.capability} {job.model}"


def _show(job: Job) -> None:
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    times = {name: getattr(job, name) for name in ("created", "started", "finished", "expires")}
    rows = {
        "id": job.id,
        "model": job.model or "",
        "what": job.capability,
        "status": job.status.value,
        "progress": numbers(job),
        "problem": (job.problem or {}).get("detail", ""),
        "seed": str(job.seed),
        "request": json.dumps(job.request),
        **{name: time.astimezone().isoformat(" ", "seconds") if time else "" for name, time in times.items()},
        "files": ", ".join(file.name for file in job.files),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    output.print(table)
