"""The kinds of values that everything is made of: parts of a plan, and records that cross process borders."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$", description="a Kubernetes name")]
Text = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s\x00-\x1f]+$")]
ModelName = Annotated[
    str,
    Field(
        max_length=253,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?$",
        description="a model or adapter, as clients name it",
    ),
]
Percent = Annotated[int, Field(ge=1, le=100)]


class Model(BaseModel):
    """A part of a plan: unknown fields are mistakes, and nothing changes after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(BaseModel):
    """A frozen record of plain data. Unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Dicts, lists, strings and finite numbers only."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The inverse of `to_json`; raises pydantic.ValidationError for anything else."""
        return cls.model_validate(value)
