"""The manifest of a job: all that is needed to run it again and to compare."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from workers.files import ResultFiles
from workers.joining import media_type
from workers.problems import Validation
from workers.records import JobRecord, ResultFile, ShardRecord
from workers.version import __version__

_LIBRARIES = ("torch", "numpy", "rdkit", "torch-geometric", "torchdiffeq", "celery", "pydantic")


def write_manifest(
    files: ResultFiles,
    job: JobRecord,
    folder: str,
    shards: Sequence[ShardRecord],
    written: Sequence[ResultFile],
    accepted: int,
) -> ResultFile:
    """Write manifest.json beside the job's files in `folder`."""
    document = build_manifest(job, shards, written, accepted)
    data = json.dumps(document, indent=2).encode() + b"\n"
    name = "manifest.json"
    digest = files.write_bytes(job.id, f"{folder}/{name}", data)
    return ResultFile(name=name, bytes=len(data), sha256=digest, media_type=media_type(name))


def build_manifest(
    job: JobRecord, shards: Sequence[ShardRecord], written: Sequence[ResultFile], accepted: int
) -> dict[str, Any]:
    """The manifest as JSON."""
    done = [shard for shard in shards if shard.status == "done"]
    return {
        "manifest": 1,
        "equimol": __version__,
        "job": job.id,
        "family": job.family,
        "model": job.model,
        "capability": job.capability,
        "request": job.request,
        "seed": job.seed,
        "input": None if job.input is None else job.input.model_dump(),
        "weights_sha256": job.weights_sha256,
        "created": job.created.isoformat(),
        "started": None if job.started is None else job.started.isoformat(),
        "written": datetime.now(tz=UTC).isoformat(),
        "stopped_as": job.stopping or None,
        "candidates": sum(shard.rows for shard in done),
        "valid": sum(shard.valid for shard in done),
        "accepted": accepted,
        "attempts": job.attempts,
        "devices": sorted({shard.device for shard in done}),
        "compute_seconds": round(sum(shard.seconds for shard in done), 3),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "files": [file.model_dump(exclude={"media_type"}) for file in written],
    }


def replay_body(manifest: Mapping[str, Any], input_text: str | None = None) -> dict[str, Any]:
    """The request body that runs the manifest's job again; the job's input file is needed when it had one.

    Post it to /v1/models/MODEL/CAPABILITY, or to /v1/CAPABILITY when the manifest names no model.
    """
    if manifest.get("manifest") != 1:
        raise Validation("this is not a manifest of version 1; give the manifest.json of a job")
    body = dict(manifest["request"])
    given = manifest["input"]
    if given is None:
        return body
    if input_text is None:
        raise Validation(
            f"the job read molecules from {given['name']}; give that file too (it is in all.zip)"
        )
    return body | {"molecules": _molecules(given["format"], input_text)}


def _molecules(format: str, text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    if format == "smiles":
        return {"smiles": lines}
    if format == "json":
        return {"structures": [json.loads(line) for line in lines]}
    return {format: text}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
