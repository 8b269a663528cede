"""LoRA adapters: what a model server answers for, and whether a new one can answer for the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Served:
    """A name that a model server answers for; an adapter has the base model's name as `parent`.

    `path` is where it was loaded from.
    """

    name: str
    path: str
    parent: str | None = None

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Served:
        """An entry of `/v1/models`."""
        return cls(str(card["id"]), str(card.get("root") or ""), card.get("parent") or None)
