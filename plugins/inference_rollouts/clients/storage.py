"""Files that a plan names by URL: what is read from there, and what a run leaves there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Storage(Protocol):
    """An object storage."""

    def read_json(self, url: str) -> dict[str, Any]:
        """A JSON object. Raises PlanInvalid, naming the URL, when there is none to be read."""

    def write(self, folder: str, name: str, parts: Iterable[str]) -> None:
        """Write a file, part after part, below the URL `folder`. Best effort: what fails is logged."""
