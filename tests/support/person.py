"""A person who answers what Airflow asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

HITL = "airflow.providers.standard.triggers.hitl"


class Person:
    """Who answers when first looked for, or after `patience` looks; never by default.

    `looked` is called each time that somebody looks for an answer.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.choice: str | None = None
        self.patience = 0
        self.looked: Callable[[], object] = lambda: None
        monkeypatch.setattr(f"{HITL}.get_hitl_detail_content_detail", self._detail)
        monkeypatch.setattr(f"{HITL}.update_hitl_detail_response", self._silence)

    def _detail(self, ti_id: Any) -> SimpleNamespace:
        self.looked()
        self.patience -= 1
        given = self.choice is not None and self.patience < 0
        return SimpleNamespace(
            response_received=given,
            chosen_options=[self.choice] if given else None,
            params_input={},
            responded_at=datetime.now(UTC) if given else None,
            responded_by_user=SimpleNamespace(id="1", name="Anna") if given else None,
        )

    def _silence(self, ti_id: Any, chosen_options: Any, params_input: Any) -> SimpleNamespace:
        return SimpleNamespace(responded_at=datetime.now(UTC))
