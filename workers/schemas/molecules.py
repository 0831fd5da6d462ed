"""Molecules inside a request: one of SDF text, XYZ text, SMILES, JSON structures, or a finished job."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

SOURCES = ("sdf", "xyz", "smiles", "structures", "job")


class StructureInput(BaseModel):
    """One molecule as numbers: atomic numbers, positions in Angstrom, total charge."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    numbers: list[Annotated[int, Field(ge=1, le=118)]] = Field(min_length=1, max_length=10_000)
    positions: list[tuple[FiniteFloat, FiniteFloat, FiniteFloat]] = Field(min_length=1, max_length=10_000)
    charge: int = Field(default=0, ge=-50, le=50)
    title: str = Field(default="", max_length=200, pattern=r"^[^\r\n]*$")

    @model_validator(mode="after")
    def _same_length(self) -> StructureInput:
        if len(self.numbers) != len(self.positions):
            raise ValueError(f"{len(self.numbers)} atomic numbers but {len(self.positions)} positions")
        return self


class Molecules(BaseModel):
    """Exactly one source of molecules."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sdf: str | None = Field(default=None, min_length=1, description="SDF text, V2000 or V3000, many records.")
    xyz: str | None = Field(default=None, min_length=1, description="XYZ or extended XYZ text, many frames.")
    smiles: (
        list[Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\r\n]*$")]] | None
    ) = Field(default=None, min_length=1, description="SMILES; coordinates are made by ETKDG with the seed.")
    structures: list[StructureInput] | None = Field(
        default=None, min_length=1, description="Molecules as JSON."
    )
    job: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{26}$")] | None = Field(
        default=None, description="The id of a finished job: its molecules."
    )

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, data: Any) -> Any:
        if isinstance(data, dict):
            given = [name for name in SOURCES if data.get(name) is not None]
            if len(given) != 1:
                raise ValueError(
                    f"give exactly one of {', '.join(SOURCES)}; given: {', '.join(given) or 'none'}"
                )
        return data
