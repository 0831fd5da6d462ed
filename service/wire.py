"""Makes the documents of the API from the records of the store."""

from __future__ import annotations

from service.documents import Estimate, FileLink, Job, ModelSummary
from workers.cards import Card
from workers.records import JobRecord, NewJob


def job_path(job_id: str) -> str:
    """The address of a job."""
    return f"/v1/jobs/{job_id}"


def job_document(record: JobRecord) -> Job:
    """A job as clients see it: without owner and queue internals."""
    path = job_path(record.id)
    links = {
        "self": path,
        "events": f"{path}/events",
        "cancel": f"{path}/cancel",
        "molecules": f"{path}/molecules",
        "result": f"{path}/result",
        "manifest": f"{path}/manifest",
    }
    if record.model is not None:
        links["model"] = f"/v1/models/{record.model}"
    files = [FileLink(**file.model_dump(), href=f"{path}/files/{file.name}") for file in record.files]
    return Job(
        **record.model_dump(
            include={
                "id",
                "model",
                "capability",
                "status",
                "progress",
                "problem",
                "created",
                "started",
                "finished",
                "deadline",
                "expires",
                "seed",
                "labels",
                "request",
                "input",
                "cost",
                "attempts",
                "accepted",
            }
        ),
        files=files,
        links=links,
    )


def estimate_document(plan: NewJob, *, seed_given: bool) -> Estimate:
    """What a dry run answers; a seed that was only drawn for it is left out."""
    request = plan.request if seed_given else plan.request | {"seed": None}
    return Estimate(
        model=plan.model,
        capability=plan.capability,
        request=request,
        cost=plan.cost,
        shards=len(plan.shards),
        queue=plan.queue,
    )


def model_summary(card: Card) -> ModelSummary:
    """One line of the model list."""
    path = f"/v1/models/{card.id}"
    links = {"self": path} | {capability: f"{path}/{capability}" for capability in card.capabilities}
    return ModelSummary(
        **card.model_dump(
            include={"id", "family", "title", "summary", "capabilities", "elements", "size_range"}
        ),
        available=card.available,
        links=links,
    )
