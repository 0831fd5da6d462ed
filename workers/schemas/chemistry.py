"""Requests that need no model: convert and validate molecules."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from workers.schemas.base import InputRequest, JobRequest


class ConvertRequest(InputRequest):
    """Read molecules and write them in every format; `to` is the one that /result returns."""

    needs_model: ClassVar[bool] = False
    default_queue: ClassVar[Literal["interactive", "batch", "cpu"] | None] = "cpu"

    to: Literal["sdf", "xyz", "smiles"] = "sdf"
    bond_rule: Literal["distance", "rdkit"] = Field(
        default="distance", description="How bonds are found when the input has none."
    )


class ValidateRequest(InputRequest):
    """Say of every molecule whether it is valid, connected and stable, and if not, why."""

    needs_model: ClassVar[bool] = False
    default_queue: ClassVar[Literal["interactive", "batch", "cpu"] | None] = "cpu"

    bond_rule: Literal["distance", "rdkit"] = "distance"


CAPABILITIES: dict[str, type[JobRequest]] = {"convert": ConvertRequest, "validate": ValidateRequest}
