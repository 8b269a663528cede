"""An object storage in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.core.errors import PlanInvalid


@dataclass
class FakeStorage:
    """Texts by their URLs; a `full` storage takes none, as one that fails does."""

    files: dict[str, str] = field(default_factory=dict)
    full: bool = False

    def read_json(self, url: str) -> dict[str, Any]:
        try:
            value = json.loads(self.files[url])
        except (KeyError, ValueError) as error:
            raise PlanInvalid(f"{url} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise PlanInvalid(f"{url} holds no JSON object.")
        return value

    def write(self, folder: str, name: str, parts: Iterable[str]) -> None:
        if not self.full:
            self.files[f"{folder}/{name}"] = "".join(parts)
