"""How job records are written into Redis hashes and read back."""

from __future__ import annotations

import json
from typing import Any

from workers.records import (
    Cost,
    InputFile,
    JobRecord,
    JobStatus,
    NewJob,
    Progress,
    ResultFile,
    ShardRecord,
    utc,
)

_SHARD_FIELDS = set(ShardRecord.model_fields)


def job_fields(job: NewJob) -> dict[str, str]:
    """The fixed fields of a new job, all strings (seeds have more digits than Lua's numbers)."""
    return {
        "family": job.family,
        "model": job.model or "",
        "capability": job.capability,
        "queue": job.queue,
        "owner": job.owner,
        "labels": json.dumps(job.labels),
        "request": json.dumps(job.request),
        "request_hash": job.request_hash,
        "seed": str(job.seed),
        "cost": job.cost.model_dump_json(),
        "input": "" if job.input is None else job.input.model_dump_json(),
        "weights_sha256": job.weights_sha256 or "",
    }


def job_from_hash(values: dict[str, str]) -> JobRecord:
    """A job from its hash."""
    whole = {name: int(values.get(name) or 0) for name in ("total", "done", "valid", "steps", "steps_total")}
    created = utc(values["created"])
    if created is None:
        raise ValueError(f"job {values.get('id')} has no time of creation")
    return JobRecord(
        id=values["id"],
        family=values["family"],
        model=values["model"] or None,
        capability=values["capability"],
        queue=values["queue"],
        owner=values["owner"],
        labels=json.loads(values["labels"]),
        request=json.loads(values["request"]),
        seed=int(values["seed"]),
        status=JobStatus(values["status"]),
        stopping=values["stop"],
        problem=_json(values.get("problem")),
        created=created,
        started=utc(values.get("started")),
        finished=utc(values.get("finished")),
        deadline=utc(values.get("deadline")),
        expires=utc(values.get("expires")),
        progress=Progress(**whole),
        cost=Cost.model_validate_json(values["cost"]),
        shards=int(values["shards"]),
        shards_done=int(values.get("shards_done") or 0),
        attempts=int(values.get("attempts") or 0),
        redeliveries=int(values.get("redeliveries") or 0),
        accepted=int(values["accepted"]) if values.get("accepted") else None,
        input=InputFile.model_validate_json(values["input"]) if values["input"] else None,
        folder=values.get("folder") or "",
        files=tuple(ResultFile(**file) for file in _json(values.get("files")) or ()),
        weights_sha256=values["weights_sha256"] or None,
    )


def shard_from_json(unit: str, text: str) -> ShardRecord:
    """A shard from its JSON; fields that only the scripts use are left out."""
    values = {name: value for name, value in json.loads(text).items() if name in _SHARD_FIELDS}
    return ShardRecord(unit=unit, **values)


def _json(text: str | None) -> Any:
    return json.loads(text) if text else None
