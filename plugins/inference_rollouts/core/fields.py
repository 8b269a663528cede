"""The kinds of values that plans are made of."""

from __future__ import annotations

from typing import Annotated

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
