"""Values that cross process borders: frozen, strict, and the same after a round trip through JSON."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


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
